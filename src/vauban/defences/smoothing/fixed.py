"""Certificates from a fixed number of samples (CERTIFY of Cohen et al. 2019, arXiv:1902.02918, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from vauban.defences.smoothing.booth import Booth, checked_rows
from vauban.defences.smoothing.results import Outcome
from vauban.defences.smoothing.smoothed import Smoothed
from vauban.errors import BadPlan
from vauban.measure.exact import clopper_pearson
from vauban.noise import RowNoise
from vauban.threat import INF, Ball

SELECT = 100
"""Samples that choose the class that a certificate speaks of; the others, which are fresh, are counted for it."""


def certify_fixed(
    smoothed: Smoothed,
    x: Tensor,
    y: Tensor | None = None,
    ball: Ball | None = None,
    *,
    samples: int = 100_000,
    select: int = SELECT,
    alpha: float = 0.001,
    ids: Tensor | None = None,
    seed: int = 0,
    max_rows: int | None = None,
) -> Iterator[Outcome]:
    """For each row the largest radius that `samples` votes prove, in the norm of the smoothed classifier, in order.

    `certify` answers whether a given radius holds with a small part of the samples; this is for radii that nobody asked for beforehand, and for
    comparison with published tables.

    Args:
        x: float (n, *shape).
        y: int64 (n,), true classes; a row whose chosen class is another one is `wrong`.
        ball: where given, the verdict is about its radius; else about whether there is a majority at all.
        select, samples: noisy copies that choose the class, and fresh ones that are counted for it.
        alpha: the chance, for each row, that its radius is too large: one-sided Clopper and Pearson.
        ids, seed, max_rows: as in `certify`.

    Raises:
        BadPlan: the radius of the ball cannot be certified with so few samples, even if all agree.
        BadData, BadTarget: as in `certify`.
    """
    if not 0 < alpha < 0.5 or samples < 1 or select < 1:
        raise BadPlan(f"smoothing: alpha = {alpha:g} must lie in (0, 0.5), and samples = {samples} and select = {select} be at least 1")
    wanted = 0.0 if ball is None else smoothed.noise.needed(ball.eps, ball, x.shape[1:])
    most = smoothed.noise.radius(alpha ** (1 / samples))
    if most <= wanted or wanted == INF:
        raise BadPlan(
            f"smoothing: {samples:,} samples certify a radius of at most {max(most, 0):.4g} at alpha = {alpha:g}, even if all of them agree, "
            f"and {wanted:.4g} is asked for; take more samples or a larger sigma"
        )
    rows = checked_rows(smoothed.target, x, y, ids)
    booth = Booth(smoothed.target, smoothed.noise, rows.classes, max_rows)
    stretch = x[0].numel() ** 0.5 if smoothed.norm == INF else 1.0
    return _found(booth, x, y, rows.ids, wanted, stretch, (select, samples), alpha, seed)


def _found(
    booth: Booth,
    x: Tensor,
    y: Tensor | None,
    ids: Tensor,
    wanted: float,
    stretch: float,
    counts: tuple[int, int],
    alpha: float,
    seed: int,
) -> Iterator[Outcome]:
    select, samples = counts
    with booth.target.held():
        for place in range(len(x)):
            streams = booth.streams(RowNoise(ids[place : place + 1].to(booth.target.device), seed, "fixed"))
            claimed = int(booth.tally(x[place : place + 1], streams, select).argmax())
            votes = booth.tally(x[place : place + 1], streams, samples)[0]
            low = 0.0 if claimed == booth.classes else clopper_pearson(int(votes[claimed]), samples, 1 - 2 * alpha)[0]
            radius = booth.noise.radius(low)
            right = y is None or claimed == int(y[place])
            verdict = "abstain" if radius <= wanted and right else "certified" if right else "wrong"
            proven = max(radius, 0.0) / stretch if right and radius > 0 else None
            answer = int(votes.argmax())
            yield Outcome(int(ids[place]), verdict, answer, claimed, proven, None, select + samples, tuple(votes.tolist()))


def largest(smoothed: Smoothed, samples: int, alpha: float = 0.001) -> float:
    """The largest radius, in the norm of the noise, that so many samples can certify, when all of them agree: 3.8 sigma for 100,000.

    >>> from torch import nn
    >>> from vauban.target import Torch
    >>> round(largest(Smoothed(Torch(nn.Linear(2, 2), outputs="logits"), 1.0), 100_000), 1)
    3.8
    """
    return smoothed.noise.radius(alpha ** (1 / samples))
