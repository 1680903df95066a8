"""The locator finds every key that the parser finds, on the line where it was written."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.toml import Where, line_at, lines_of

TEXT = '''# a comment with [brackets] and a = 1
title = "a # no comment" # seed = 3

"quoted key".'it self' = 'C:\\path'  # dotted
[target]
mean = [
  0.1, # first ]
  0.2,
]
text = """
[not.a.table]
key = "x" \\""" still inside"""
when = 1979-05-27 07:32:00
goal = { wanted = "live", from = ["spoof", "mask"] }

[[threat]]
name = "a"
  [[threat.attack]]
  name = "fgsm"
  [[threat.attack]]
  name = "pgd"
[threat.more]
deep.er = 1
[[threat]]
name = "b"
attack = [{ name = "x", steps = 1 },
          { name = "y" }]
[promise]
"in sider" = { robust_accuracy = 0.4 }
[promise."a.b"]
raw = \'\'\'it\'\'s # raw\'\'\'
clean_accuracy = 0.9
'''


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("title",), 2),
        (("quoted key",), 4),
        (("quoted key", "it self"), 4),
        (("target",), 5),
        (("target", "mean"), 6),
        (("target", "mean", 0), 7),
        (("target", "mean", 1), 8),
        (("target", "text"), 10),
        (("target", "when"), 13),
        (("target", "goal", "from", 1), 14),
        (("threat",), 16),
        (("threat", 0), 16),
        (("threat", 0, "attack", 0, "name"), 19),
        (("threat", 0, "attack", 1, "name"), 21),
        (("threat", 0, "more", "deep", "er"), 23),
        (("threat", 1), 24),
        (("threat", 1, "attack", 0, "steps"), 26),
        (("threat", 1, "attack", 1, "name"), 27),
        (("promise", "in sider", "robust_accuracy"), 29),
        (("promise", "a.b"), 30),
        (("promise", "a.b", "raw"), 31),
        (("promise", "a.b", "clean_accuracy"), 32),
    ],
)
def test_a_key_is_where_it_was_written(where: Where, line: int) -> None:
    assert lines_of(TEXT)[where] == line
    assert lines_of(TEXT.replace("\n", "\r\n"))[where] == line


def test_a_place_that_is_not_written_is_where_its_table_is() -> None:
    lines = lines_of(TEXT)
    assert line_at(lines, ("threat", 1, "eps")) == 24
    assert line_at(lines, ("nowhere", 3)) == 1


def places(value: Any, where: Where = ()) -> set[Where]:
    """Every place inside parsed TOML."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {p for k, v in items for p in ({(*where, k)} | places(v, (*where, k)))}


def test_the_locator_finds_what_the_parser_finds() -> None:
    assert set(lines_of(TEXT)) == places(tomllib.loads(TEXT))


KEYS = st.sampled_from(["a", "b-c", "d_1", "7", "x y", "ö", 'q"q', "", "a.b", "#"])
SCALARS = st.one_of(
    st.integers(-9, 9),
    st.booleans(),
    st.text("ab \"'#[]{}=\n\\,", max_size=6),
    st.sampled_from(["1979-05-27", "07:32:00", "1e3", "inf"]).map(lambda s: ("raw", s)),
)
INLINE = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
NOISE = st.sampled_from(["", "\n", "# a = [1]\n", "  \n# ]\n"])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def shown(value: Any, draw: Any) -> str:
    """A value as TOML, strings and arrays in a style drawn at random."""
    if isinstance(value, tuple):
        return value[1]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if "'" not in value and "\n" not in value and draw(st.booleans()):
            return f"'{value}'"
        return '""' + quoted(value).replace("\\n", "\n") + '""' if draw(st.booleans()) else quoted(value)
    if isinstance(value, list):
        gap = draw(st.sampled_from(["", "\n ", " # ]\n"]))
        return "[" + gap + "".join(f"{shown(v, draw)},{gap}" for v in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(k)} = {shown(v, draw)}" for k, v in value.items()) + " }"
    return str(value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_place_of_any_document_is_found_on_its_line(data: st.DataObject) -> None:
    draw, text = data.draw, ""
    expected: dict[Where, int] = {}
    for name in draw(st.lists(KEYS, max_size=4, unique=True)):
        for place in range(draw(st.integers(1, 2))):
            text += draw(NOISE)
            expected[(name, place)] = text.count("\n") + 1
            text += f"[[ {quoted(name)} ]]\n"
            for key, value in draw(st.dictionaries(KEYS, INLINE, max_size=3)).items():
                text += draw(NOISE)
                expected[(name, place, key)] = text.count("\n") + 1
                text += f"  {quoted(key)} = {shown(value, draw)}{draw(st.sampled_from(['', '  # c = 1']))}\n"
    lines = lines_of(text)
    assert set(lines) == places(tomllib.loads(text))
    assert {where: lines[where] for where in expected} == expected
