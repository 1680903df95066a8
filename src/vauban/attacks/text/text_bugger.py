"""The character part of TextBugger: important words first, and for each the bug that helps most."""

from __future__ import annotations

from vauban.attacks.text.operators import HOMOGLYPHS, KEYBOARD, rewritten, without
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow, Word
from vauban.threat import Access

SEEN_ALIKE = {"o": "0", "l": "1", "a": "@", "i": "1", "e": "3", "s": "5"}
"""What Sub-C puts for a letter besides Unicode look-alikes and keyboard neighbours."""


@text_attack(
    Access.SCORE, families=("insert", "delete", "swap", "substitute", "keyboard", "homoglyph"), paper="Li et al. 2019, arXiv:1812.05271"
)
def text_bugger(row: TextRow) -> Play:
    """Rank words by the objective without them; insert a space, delete, swap or substitute a letter, whichever raises it most (Algorithm 2).

    Without Sub-W, which needs word vectors. A word that no bug helps stays as it is.
    """
    words = [w for w in row.words if not w.common]
    value, *weight = yield from row.score([row.clean, *(without(row.clean, w) for w in words)], kind="gradient")
    ranked = [words[i] for i in sorted(range(len(words)), key=lambda i: -weight[i])]
    chosen: dict[Word, str] = {}
    for word in ranked:
        bugs = [b for b in bugs_of(row, word) if row.legal(rewritten(row.clean, {**chosen, word: b}), made_of=len(chosen) + 1)]
        if not bugs:
            continue
        values = yield from row.score([rewritten(row.clean, {**chosen, word: b}) for b in bugs])
        if max(values) > value:
            value = max(values)
            chosen[word] = bugs[values.index(value)]


def bugs_of(row: TextRow, word: Word) -> list[str]:
    """One word by each bug (section III-B): the places are random, and first and last letters stay where there are others."""
    w = word.text
    draw = row.noise.fork("word", word.start)
    inner = 1 + int(draw.integers(max(len(w) - 2, 1)))
    found: list[str] = []
    if row.may("insert") and 2 <= len(w) <= 6:
        found.append(w[:inner] + " " + w[inner:])
    if row.may("delete") and len(w) >= 3:
        found.append(w[:inner] + w[inner + 1 :])
    if row.may("swap") and len(w) >= 4:
        i = 1 + int(draw.integers(len(w) - 3))
        found.append(w[:i] + w[i + 1] + w[i] + w[i + 2 :])
    found += [w[:i] + c + w[i + 1 :] for i in [min(inner, len(w) - 1)] for c in _substitutes(row, w[i])]
    return [b for b in dict.fromkeys(found) if b != w]


def _substitutes(row: TextRow, c: str) -> str:
    """What Sub-C may put for a letter."""
    plain = SEEN_ALIKE.get(c, "") if row.may("substitute") else ""
    near = KEYBOARD.get(c, "")[:1] if row.may("keyboard", "substitute") else ""
    return plain + near + (HOMOGLYPHS.get(c, "")[:1] if row.may("homoglyph") else "")
