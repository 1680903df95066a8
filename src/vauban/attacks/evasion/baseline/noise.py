"""Random noise of the threat's size."""

import torch

from vauban.attacks.parts.starts import random_change
from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

PAPER = "Carlini et al. 2019, arXiv:1902.06705"


@attack(Access.NONE, on=("linf", "l2", "l1", "l0", "pixels", "patch", "transformations"), baseline=True, paper=PAPER)
def uniform_noise(o: Oracle, tries: Count = 10) -> None:
    """Uniform random points of the ball."""
    for _ in o.steps(tries):
        o.submit(o.project(o.x + random_change(o, o.eps)))


@attack(Access.NONE, on=("linf", "l2", "l1"), baseline=True, paper=PAPER)
def gaussian_noise(o: Oracle, tries: Count = 10, share: Share = 0.5) -> None:
    """Gaussian noise: with a standard deviation of `share` of the radius in L-infinity, at the full radius in L2 and L1."""
    for _ in o.steps(tries):
        d = o.noise.normal(*o.x.shape[1:])
        size = share * o.eps if o.ball.p == INF else per_row(o.eps / norms_of_rows(d, o.ball.p, d.ndim - 1).clamp_min(1e-12), d)
        o.submit(o.project(o.x + d * size))


@attack(Access.NONE, on=("linf", "l2", "l1", "l0", "pixels", "patch"), baseline=True, paper=PAPER)
def salt_and_pepper(o: Oracle, tries: Count = 10) -> None:
    """A growing share of random features (of a patch: of its sides) set to the least or the greatest value."""
    for i in o.steps(tries):
        share, shape = (i + 1) / tries, o.x.shape[1:]
        lot, side = o.noise.uniform(*shape), o.noise.uniform(*shape)
        ends = torch.where(side < 0.5, *o.limits)
        hit = o.ball.cut(lot, o.eps * share, len(shape)) > 0 if o.ball.p == 0 else lot < share
        o.submit(o.project(torch.where(hit, ends, o.x)))
