"""DeepWordBug: the words that matter most are found by questions, and each gets one small typing error."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

from vauban.attacks.text.operators import homoglyph, rewritten, something, without
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Ask, Play, Reply, TextRow, Word
from vauban.threat import Access

Importance = Literal["leave-one-out", "temporal"]


@text_attack(Access.SCORE, families=("swap", "substitute", "homoglyph", "delete", "insert"), paper="Gao et al. 2018, arXiv:1801.04354")
def deep_word_bug(row: TextRow, importance: Importance = "leave-one-out", best: bool = True) -> Play:
    """Rank words by how much the objective moves without them, then misspell the first ones, a letter each.

    Words are taken in that order until no more edits are allowed.

    Args:
        importance: "leave-one-out", by taking each word out (section IV-A of the paper asks about it with an unknown word in its place); or
            "temporal", by the words up to each and those from each on (the paper's combined score).
        best: ask about all four transformations of a word (swap, substitute, delete, insert) and keep the best; otherwise one at random.
    """
    ranked = yield from ranking(row, importance)
    chosen: dict[Word, str] = {}
    for word in ranked:
        bugs = [b for b in misspellings(row, word) if row.legal(rewritten(row.clean, {**chosen, word: b}), made_of=len(chosen) + 1)]
        if bugs and not best:
            bugs = [bugs[int(row.noise.integers(len(bugs)))]]
        if bugs:
            values = yield from row.score([rewritten(row.clean, {**chosen, word: b}) for b in bugs])
            chosen[word] = bugs[values.index(max(values))]


def ranking(row: TextRow, importance: Importance) -> Generator[Ask, Reply, list[Word]]:
    """The words that may be changed, the most important first; ties in the order of the text."""
    words = row.words
    if importance == "leave-one-out":
        weight = yield from row.score([without(row.clean, w) for w in words], kind="gradient")
    else:
        heads = ["", *(row.clean[: w.end] for w in words)]
        tails = [*(row.clean[w.start :] for w in words), ""]
        values = yield from row.score([something(t) for t in (*heads, *tails)], kind="gradient")
        head, tail = values[: len(heads)], values[len(heads) :]
        # the objective is what the attacker raises: a word matters by how much it lowers it, in front of and behind the others
        weight = [(head[i] - head[i + 1]) + (tail[i + 1] - tail[i]) for i in range(len(words))]
    order = sorted(range(len(words)), key=lambda i: -weight[i])
    return [words[i] for i in order]


def misspellings(row: TextRow, word: Word) -> list[str]:
    """One word by each of the four transformations that the threat allows, at random places: a swap and a deletion leave its first letter and
    (where it has four letters) its last alone; a substitution is by a look-alike where those are allowed, otherwise by any letter."""
    w = word.text
    draw = row.noise.fork("word", word.start)
    found: list[str] = []
    if row.may("swap") and len(w) >= 4:
        i = 1 + int(draw.integers(len(w) - 3))
        found.append(w[:i] + w[i + 1] + w[i] + w[i + 2 :])
    place, letter = int(draw.integers(len(w))), chr(ord("a") + int(draw.integers(26)))
    if row.may("homoglyph", "substitute"):
        alike = list(homoglyph(w, place)) if row.may("homoglyph") else []
        found.append(alike[0] if alike else w[:place] + letter + w[place + 1 :])
    if row.may("delete") and len(w) >= 3:
        i = 1 + int(draw.integers(len(w) - 2))
        found.append(w[:i] + w[i + 1 :])
    if row.may("insert"):
        i = int(draw.integers(len(w) + 1))
        found.append(w[:i] + letter + w[i:])
    return [bug for bug in dict.fromkeys(found) if bug != w]
