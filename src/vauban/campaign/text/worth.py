"""What the adversarial texts are worth: edits, visible characters that stand, and what is left of them behind a normaliser."""

from __future__ import annotations

from collections import Counter
from statistics import median

import torch

from vauban.campaign.text.siege import Fought
from vauban.campaign.validity import Validity
from vauban.doors.text import skeleton
from vauban.doors.text.characters import unseen
from vauban.measure.rate import Rate


def validity(fought: Fought) -> Validity | None:
    """Of the rows that an attack broke; None where none did."""
    rows, oracle = fought.won, fought.oracle
    if not rows:
        return None
    clean, found = [oracle.texts[i] for i in rows], [fought.adversarial[i] for i in rows]
    families: Counter[str] = Counter()
    for i, text in zip(rows, found, strict=True):
        families.update(s.family for s in oracle.rulers[i].steps(text) if s.cost)
    alike = sum(skeleton(a) == skeleton(b) for a, b in zip(clean, found, strict=True))
    return Validity(
        float(median(fought.done.size[rows].tolist())),
        float(median(map(len, clean))),
        float(median(unchanged(fought, i) for i in rows)),
        Rate(alike, len(rows)),
        Rate(_fooled_behind(fought, rows, found), len(rows)),
        dict(sorted(families.items())),
    )


def unchanged(fought: Fought, row: int) -> float:
    """The share of the visible characters of a clean text that stand as they were in the adversarial one."""
    steps = fought.oracle.rulers[row].steps(fought.adversarial[row])
    stand = sum(_seen(s.clean) for s in steps if not s.cost)
    return stand / max(_seen(fought.oracle.texts[row]), 1)


def _seen(text: str) -> int:
    return sum(not c.isspace() and not unseen(c) for c in text)


def _fooled_behind(fought: Fought, rows: list[int], texts: list[str]) -> int:
    """How many of the texts meet the goal when the target reads their skeletons."""
    z = fought.oracle.referee.scores([skeleton(t) or "." for t in texts])
    met = fought.oracle.aim.take(torch.tensor(rows)).margin(z) > 0
    return int((met & torch.isfinite(z).all(1)).sum())
