"""Charmer: the places that matter are found by questions, and every character is tried there, one edit after another."""

from __future__ import annotations

from vauban.attacks.registry import Count
from vauban.attacks.text.operators import OPERATORS, edits, something
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow
from vauban.threat import Access


@text_attack(Access.SCORE, paper="Abad Rocamora et al. 2024, arXiv:2405.04346")
def charmer(row: TextRow, places: Count = 8) -> Play:
    """Rank the places of the text by the objective without the character there, try every allowed edit at the first few, keep the one that
    raises it most for what it counts; again and again, until no more edits are allowed (Algorithms 1 and 2).

    Several edits of a word are possible, which attacks that misspell each word once never make.

    Args:
        places: how many places are tried each time.
    """
    text = row.clean
    while True:
        found = edits(row, text, tuple(OPERATORS))
        if not found:
            return
        at = list(dict.fromkeys(e.place for e in found.values()))
        now, *weight = yield from row.score([text, *(something(text[:i] + text[i + 1 :]) for i in at)], kind="gradient")
        first = {at[i] for i in sorted(range(len(at)), key=lambda i: -weight[i])[:places]}
        tried = [t for t, e in found.items() if e.place in first]
        values = yield from row.score(tried)
        gains = [(value - now) / found[t].cost for t, value in zip(tried, values, strict=True)]
        text = tried[gains.index(max(gains))]
