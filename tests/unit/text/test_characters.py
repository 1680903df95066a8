"""A reader's view of a text: look-alikes fold, what is unseen goes, and plain text stays."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.doors.text import HOMOGLYPHS, INVISIBLE, KEYBOARD, shown, skeleton, words
from vauban.doors.text.characters import plain, unseen


@given(st.text(string.ascii_letters + string.digits + string.punctuation + " \n\t"))
def test_ascii_is_its_own_skeleton(text: str) -> None:
    assert skeleton(text) == text


@given(st.text())
def test_a_skeleton_holds_nothing_unseen_and_is_its_own(text: str) -> None:
    once = skeleton(text)
    assert not any(unseen(c) for c in once)
    assert skeleton(once) == once


@pytest.mark.parametrize(("c", "others"), HOMOGLYPHS.items())
def test_every_look_alike_folds_to_its_character_and_is_another(c: str, others: str) -> None:
    for other in others:
        assert skeleton(other) in (c, {"0": "O"}.get(c))
        assert ord(other) > 127 and not plain(other)
        assert unicodedata.category(other)[0] in "LN"


def test_forms_that_compose_to_look_alikes_fold_too() -> None:
    assert skeleton("\U0001d6a8 ｐａｙ \u03f9\u03f2") == "A pay Cc"


def test_invisible_characters_have_no_width() -> None:
    assert all(unicodedata.category(c) == "Cf" for c in INVISIBLE)
    assert skeleton(INVISIBLE.join("free")) == "free"


def test_reordered_pairs_and_backspaces_are_read_as_they_are_shown() -> None:
    assert shown("f\u202eer\u202ce") == "free"
    assert shown("frxy\b\bee") == "free"


def test_neighbours_on_the_keyboard_are_mutual() -> None:
    assert set(KEYBOARD["g"]) == set("ftyhbv")
    assert all(c in KEYBOARD[d] for c, others in KEYBOARD.items() for d in others if c.isalpha() and d.isalpha())


def test_words_lie_where_they_say() -> None:
    text = "Don't stop—me, 2day!"
    assert [text[w.start : w.end] for w in words(text)] == [w.text for w in words(text)] == ["Don't", "stop", "me", "2day"]
