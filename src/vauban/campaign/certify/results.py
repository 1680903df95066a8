"""What is proven under one threat, row by row and together: plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vauban.measure.rate import Rate


@dataclass(frozen=True, slots=True)
class RowCertificate:
    """What is proven of one row.

    Attributes:
        row, label: its id and true class.
        verdict: "certified"; "wrong": the answer to the clean row is another class; "abstain": noise does not leave enough of a majority;
            "undecided": the samples that were allowed do not tell; "open": the bounds are too loose to prove it.
        radius: the largest of the asked radii within which it is certified; None where there is none.
        lost: for smoothing, the smallest asked radius that the votes rule out; None where there is none.
        margin: for deterministic proofs, the least lead of the true class over the ball.
        samples: noisy copies that the model was asked about; `votes` of them for the true class.
        by: the proof that gave the verdict.
        seconds: processor time of its share.
    """

    row: int
    label: int
    verdict: str
    radius: float | None = None
    lost: float | None = None
    margin: float | None = None
    samples: int = 0
    votes: int = 0
    by: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """All rows under one threat.

    Attributes:
        threat, text: its name, and what it allows in words.
        eps: its radius.
        method: how it was proven: "smoothing", "bounds", "trees"; empty where nothing could be.
        facts: what the statement depends on, in words: the noise and alpha, the level of the bounds.
        alpha: the chance, for each row, that its certificate is false; 0 for a proof that leaves none.
        radii: those that were asked, ascending; the last one is not always eps.
        rows: one certificate for each row of the denominator, by row id.
        unable: why nothing could be proven.
        warnings: what a reader must know.
    """

    threat: str
    text: str
    eps: float
    method: str = ""
    facts: str = ""
    alpha: float = 0.0
    radii: tuple[float, ...] = ()
    rows: tuple[RowCertificate, ...] = ()
    unable: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def certified(self) -> Rate:
        """Certified accuracy at the threat's radius."""
        return self.at(self.eps)

    def at(self, radius: float) -> Rate:
        """Certified accuracy at a radius that was asked."""
        return Rate(sum(r.radius is not None and r.radius >= radius for r in self.rows), len(self.rows))

    def undecided(self, radius: float) -> int:
        """Rows that are neither certified at a radius nor shown to be out of reach of the method."""
        return sum((r.radius is None or r.radius < radius) and (r.lost is None or r.lost > radius) for r in self.rows)

    def count(self, verdict: str) -> int:
        """Rows of a verdict."""
        return sum(r.verdict == verdict for r in self.rows)

    @property
    def samples(self) -> float:
        """Noisy copies a row, in the mean."""
        return _mean([r.samples for r in self.rows])

    @property
    def seconds(self) -> float:
        """Processor time, all rows together."""
        return sum(r.seconds for r in self.rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
