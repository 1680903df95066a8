"""The fast adaptive boundary attack, over all boundaries at once and class by class."""

import torch
from torch import Tensor

from vauban.attacks.parts.plane import onto_plane
from vauban.attacks.parts.targets import ranked_targets, towards
from vauban.attacks.registry import Count, Positive, Share, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access

NORMS = ("linf", "l2", "l1")
PAPER = "Croce and Hein 2020, arXiv:1907.02044, algorithm 1"


@attack(Access.GRADIENT, on=NORMS, minimal=True, paper=PAPER)
def fab(o: Oracle, steps: Count = 100, restarts: Count = 1, alpha_max: Share = 0.1, eta: Positive = 1.05, beta: Share = 0.9) -> None:
    """Steps over the nearest of the boundaries of all winning classes, each taken for a plane, drawn towards the clean input.

    At most `alpha_max` of a step goes from the clean input instead of the current point, both go `eta` times the way to the plane, and a point
    that fools is pulled back to `beta` of its change. Neither the scale of the scores nor a constant added to them matters.
    """
    classes = o.rows(won=o.aim.wins.nonzero()[:, 1].view(len(o), -1))

    def leads(aim: Aim, z: Tensor) -> Tensor:
        """Each winning score minus the best losing one."""
        return z.gather(1, aim.of(classes.won)) - z.masked_fill(aim.wins, -INF).amax(1, keepdim=True)

    for restart in o.restarts(restarts):
        s = o.rows(x=_start(o, restart))
        for _ in o.steps(steps):
            lead, normals = o.jacobian(s.x, leads, columns=classes.won.shape[1])
            slope = norms_of_rows(normals, o.ball.dual, o.x.ndim - 1).clamp_min(1e-30)
            row, k = torch.arange(len(o), device=lead.device), (lead.abs() / slope).argmin(1)
            s.x = _pulled_back(o, _over(o, s.x, lead[row, k], normals[row, k], alpha_max, eta), beta)


@attack(Access.GRADIENT, on=NORMS, minimal=True, paper="Croce and Hein 2020, arXiv:2003.01690, and arXiv:1907.02044, algorithm 1")
def fab_t(
    o: Oracle,
    steps: Count = 100,
    restarts: Count = 1,
    targets: Count = 9,
    alpha_max: Share = 0.1,
    eta: Positive = 1.05,
    beta: Share = 0.9,
) -> None:
    """FAB over the boundary of one wrong class after another, the `targets` likeliest: one gradient a step however many classes there are.

    `alpha_max`, `eta` and `beta` as in `fab`; `steps` for each class. Neither the scale of the scores nor a constant added to them matters.
    """
    ranked = o.rows(classes=ranked_targets(o, targets))
    for restart in o.restarts(restarts):
        for k in range(ranked.classes.shape[1]):
            s = o.rows(x=_start(o, restart), target=ranked.classes[:, k])
            for _ in o.steps(steps):
                lead, normal = o.ascend(s.x, towards(s.target))
                s.x = _pulled_back(o, _over(o, s.x, lead, normal, alpha_max, eta), beta)


def _over(o: Oracle, x: Tensor, lead: Tensor, normal: Tensor, alpha_max: float, eta: float) -> Tensor:
    """A little over the plane on which the lead is 0: between the projections of the current point and of the clean input, the less from the
    latter the nearer the former, (n, *shape)."""
    n, both, w = len(o), torch.stack([x.flatten(1), o.x.flatten(1)]), normal.flatten(1)
    lower, upper = o.limits
    gone = (w * (both[0] - both[1])).sum(1)
    change = onto_plane(both, w, torch.stack([-lead, gone - lead]), (lower.flatten(1), upper.flatten(1)), o.ball.p)
    size = norms_of_rows(change, o.ball.p, 1)
    alpha = (size[0] / size.sum(0).clamp_min(1e-12)).clamp_max(alpha_max)
    there = torch.add(both, change, alpha=eta)
    return torch.lerp(there[0], there[1], alpha.view(n, 1)).view_as(x).clamp(*o.limits)


def _pulled_back(o: Oracle, x: Tensor, beta: float) -> Tensor:
    """Points that fool, back to `beta` of their change; the others as they are.

    A forward pass of its own: two of three points or more fool, and taking the gradient on the way would be wasted on them.
    """
    share = torch.where(o.fooled(x), beta, 1.0).to(x.dtype)
    return torch.lerp(o.x, x, per_row(share, x))


def _start(o: Oracle, restart: int) -> Tensor:
    """The clean rows; after the first time a random point, half as far as the best example or the radius, whichever is nearer."""
    if restart == 0:
        return o.x
    shape, p = o.x.shape[1:], o.ball.p
    d = (o.noise.uniform(*shape).mul_(2).sub_(1) if p == INF else o.noise.normal(*shape)).to(o.x)
    radius = o.distance.clamp_max(min(o.eps, o.ball.width)).to(d) / 2
    return (o.x + d * per_row(radius / norms_of_rows(d, p, len(shape)).clamp_min(1e-12), d)).clamp(*o.limits)
