"""HotFlip: the character edits that a gradient says raise the objective most, by beam search."""

from __future__ import annotations

from vauban.attacks.registry import Count
from vauban.attacks.text.operators import edits
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow
from vauban.threat import Access

FLIPS = ("substitute", "homoglyph", "keyboard", "swap")
SHIFTS = ("delete", "insert")
"""Edits that move the rest of the text: its gradient says little of them where the model does not mind where a word stands."""


@text_attack(Access.GRADIENT, families=FLIPS + SHIFTS, paper="Ebrahimi et al. 2018, arXiv:1712.06751")
def hot_flip(row: TextRow, beam: Count = 5, top: Count = 10) -> Play:
    """Rank every single edit by its first-order gain (equation 4), keep the best few texts, and go on from those.

    Edits that keep the length are tried where the threat allows any, and deletions and insertions where it does not.

    Args:
        beam: texts that are kept from one edit to the next.
        top: edits by gain that are asked about at each of them.
    """
    families = FLIPS if row.may(*FLIPS) else SHIFTS
    kept = [row.clean]
    for _ in range(row.most):
        tried: list[str] = []
        for text in kept:
            around = [t for t in edits(row, text, families) if t not in tried]
            if around:
                _, gains = yield from row.slope(text, around)
                best = sorted(range(len(gains)), key=lambda i: -gains[i])
                tried += [around[i] for i in best[:top]]
        values = yield from row.score(tried)
        order = sorted(range(len(tried)), key=lambda i: -values[i])
        kept = [tried[i] for i in order[:beam]]
