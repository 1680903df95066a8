"""Projected gradient ascent on what a patch shows, while it moves over the image."""

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.places import Places
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Loss, Oracle, Rows
from vauban.geometry.l0 import furthest
from vauban.threat import Access

REACH = 0.5
"""How far a patch is moved at most, as a share of the image; it falls to a pixel along a line."""


@attack(
    Access.GRADIENT,
    on=("patch",),
    images=True,
    paper="Karmon et al. 2018, arXiv:1801.02608; the place: Rao et al. 2020, arXiv:2005.02313",
)
def patch_pgd(
    o: Oracle, steps: Count = 40, step: Positive = 0.25, restarts: Count = 5, looks: Count = 20, loss: LossName = "margin"
) -> None:
    """Signed gradient steps on a patch, which begins at the best of some places and moves where a random move does better.

    A restart looks at the patch in `looks` random places, each of its features at the end of its range that the gradient at the clean input points
    to; the first restart also where a patch would raise the objective most if that were linear. Then each step asks for the gradient, and about the
    same patch elsewhere: where that is better the patch moves, and where not its features go by `step` of their ranges.
    """
    places = Places.of(o)
    for i in o.restarts(restarts):
        s = _begun(o, places, LOSSES[loss], looks, promising=i == 0)
        for k in o.steps(steps):
            value, gradient = o.ascend(places.shown(o, s.place, s.share), LOSSES[loss])
            slope = gradient.flatten(1).gather(1, places.features(s.place)).sign()
            there = places.shifted(s.place, *(_shift(o, side, k / steps) for side in o.x.shape[2:]))
            better = there != s.place
            better = better & (o.look(places.shown(o, there, s.share), LOSSES[loss], better) > value)
            s.share = pick(better, s.share, (s.share + step * slope).clamp(0, 1))
            s.place = torch.where(better, there, s.place)
        o.submit(places.shown(o, s.place, s.share))


def _begun(o: Oracle, places: Places, loss: Loss, looks: int, *, promising: bool) -> Rows:
    """The place (n,) and what the patch shows there, the share (n, features) of each range: of those looked at, what raises the objective most."""
    _, gradient = o.ascend(o.x, loss)
    tried = [places.anywhere(o) for _ in range(looks)]
    if promising:
        lower, upper = o.limits
        tried.append(places.best((gradient * furthest(gradient, (o.x - lower, upper - o.x))).sum(1)))
    place = torch.stack(tried)
    share = torch.stack([(gradient.flatten(1).gather(1, places.features(p)) > 0).to(gradient) for p in tried])
    value = o.look(torch.stack([places.shown(o, p, s) for p, s in zip(place, share, strict=True)]), loss)
    best, row = value.argmax(0), torch.arange(len(o), device=place.device)
    return o.rows(place=place[best, row], share=share[best, row])


def _shift(o: Oracle, side: int, done: float) -> Tensor:
    """By how many pixels to move along one side of the image, int64 (n,)."""
    far = max(int(REACH * (1 - done) * side), 1)
    return o.noise.integers(2 * far + 1) - far
