"""What is certified of a row, and of many rows together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["certified", "abstain", "wrong", "undecided"]
"""`certified`: the smoothed answer is the class and stays it within the largest radius that was asked (but for chance alpha).
`abstain`: the votes show, but for chance alpha, that they do not suffice for that radius.
`wrong`: as `abstain`, and another class than the true one has more votes.
`undecided`: the samples that were allowed settle it neither way, or almost certainly would not."""


@dataclass(frozen=True)
class Outcome:
    """What is certified of one row.

    Attributes:
        row: its id.
        verdict: about the largest radius that was asked.
        answer: the class with most votes of those counted; the number of classes where most samples got no answer.
        claimed: the class that the certificate speaks of: the true one where labels are given, else the one that a first, separate sample chose.
        radius: the largest radius certified, of those asked; with a fixed number of samples, whatever the votes prove. None where there is
            none; 0 says that the class has a majority.
        lost: the least radius asked that the votes rule out; None where there is none.
        samples: noisy copies that the model was asked about.
        counts: votes for each class, and last the samples without an answer.
    """

    row: int
    verdict: Verdict
    answer: int
    claimed: int
    radius: float | None
    lost: float | None
    samples: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """A point of the curve of certified accuracy: of `rows`, `certified` hold at `radius`, `lost` cannot be, and the rest is undecided."""

    radius: float
    certified: int
    lost: int
    rows: int


def curve(outcomes: Iterable[Outcome], radii: Sequence[float]) -> tuple[Point, ...]:
    """Certified accuracy against radius, at the radii that were asked."""
    found = list(outcomes)
    return tuple(
        Point(
            r,
            sum(o.radius is not None and o.radius >= r for o in found),
            sum(o.lost is not None and o.lost <= r for o in found),
            len(found),
        )
        for r in radii
    )
