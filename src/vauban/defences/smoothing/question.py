"""What is asked about a row: up to which of several radii its answer is certain; and whether so few samples can tell at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vauban.defences.smoothing.betting import Boundary, boundary_of, fewest
from vauban.defences.smoothing.smoothed import Smoothed
from vauban.errors import BadPlan
from vauban.threat import INF, Ball

FUTILE = 0.01
"""Rows that would be settled with no more chance than this, were all samples taken, are given up as undecided (stochastic curtailment; Lan,
Simon and Halperin 1982). Those whose share lies at the bar would take every sample there is to come to the same end."""


@dataclass(frozen=True)
class Question:
    """Radii that are asked about, ascending, as a person wrote them; and when the answer to each is known.

    The radii of a row are certified from the smallest on, each only after all smaller ones. The first of them that is not true is then
    claimed with chance alpha at most, and so is any later one: no correction for their number is due.
    """

    radii: tuple[float, ...]
    boundaries: tuple[Boundary, ...]

    @property
    def peeks(self) -> tuple[int, ...]:
        """After how many samples the votes are looked at."""
        return self.boundaries[0].peeks

    def look(self, peek: int, votes: int, proven: int, lost: int) -> tuple[int, int]:
        """How many radii are certified, from the smallest on, and which is the smallest out of reach, once there are so many votes."""
        while proven < lost and votes >= self.boundaries[proven].enough[peek]:
            proven += 1
        while lost > proven and votes <= self.boundaries[lost - 1].hopeless[peek]:
            lost -= 1
        return proven, lost

    def open(self, proven: int, lost: int, votes: int, samples: int) -> bool:
        """Whether one more radius can still be certified, and more samples are likely to settle any, `proven < lost`, at all."""
        if samples - votes > self.boundaries[proven].misses:
            return False
        return any(boundary.prospect(votes, samples) > FUTILE for boundary in self.boundaries[proven:lost])


def question_of(
    smoothed: Smoothed, ball: Ball | None, shape: Sequence[int], *, radii: Sequence[float] = (), alpha: float = 0.001, most: int = 100_000
) -> Question:
    """Whether the answer is the same within the ball, and within more `radii` of the same norm.

    Args:
        ball: None to ask about `radii` in the norm of the smoothed classifier, or with no radii, about the majority alone.
        shape: of one input.

    Raises:
        BadPlan: alpha is no small probability; a radius is negative or without end; or no votes would do, with so few samples.
    """
    if not 0 < alpha < 0.5:
        raise BadPlan(f"smoothing: alpha = {alpha:g} must lie between 0 and 0.5: it is the chance that a row is certified falsely")
    if most < 1:
        raise BadPlan(f"smoothing: {most} samples for a row are none; allow at least 1")
    asked = tuple(sorted({float(r) for r in (*radii, *(() if ball is None else (ball.eps,)))})) or (0.0,)
    for bad in (r for r in asked if not 0 <= r < INF):
        raise BadPlan(f"smoothing: a radius of {bad:g} cannot be certified; ask for numbers from 0 up")
    around = Ball(norm=smoothed.norm) if ball is None else ball
    bars = [smoothed.noise.share(smoothed.noise.needed(r, around, shape)) for r in asked]
    for radius, bar in zip(asked, bars, strict=True):
        _check_possible(smoothed, radius, bar, alpha, most)
    return Question(asked, tuple(boundary_of(bar, alpha, most) for bar in bars))


def _check_possible(smoothed: Smoothed, radius: float, bar: float, alpha: float, most: int) -> None:
    said = f"radius {radius:g} with {smoothed.noise.name} noise of sigma = {smoothed.noise.sigma:g}"
    if 1 - bar < 1e-9:
        raise BadPlan(f"smoothing: no number of samples certifies {said}; take a larger sigma")
    if not boundary_of(bar, alpha, most).possible:
        raise BadPlan(
            f"smoothing: {most:,} samples cannot certify {said} at alpha = {alpha:g}, even if all of them agree; "
            f"allow at least {fewest(bar, alpha):,}, or take a larger sigma"
        )
