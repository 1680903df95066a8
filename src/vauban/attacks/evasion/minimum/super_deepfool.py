"""SuperDeepFool, in L2."""

import torch
from torch import Tensor

from vauban.attacks.evasion.minimum.deepfool import NUDGE
from vauban.attacks.parts.plane import onto_plane
from vauban.attacks.parts.select import pick
from vauban.attacks.registry import Count, Natural, attack
from vauban.doors import Aim, Oracle
from vauban.geometry import norms_of_rows, per_row
from vauban.threat import INF, Access


@attack(Access.GRADIENT, on=("l2",), minimal=True, paper="Abdollahpoorrostam et al. 2023, arXiv:2303.12481, algorithm 2")
def super_deepfool(o: Oracle, steps: Count = 100, halvings: Count = 10, overshoot: Natural = 0.02) -> None:
    """DeepFool steps across the boundary, then the change projected onto the boundary's normal there; again, until a projection fools.

    The smallest change is normal to the boundary where it ends, which DeepFool's last point is not. Ends with a search by halves between the
    clean input and the last point that fooled. Neither the scale of the scores nor a constant added to them matters.
    """
    winners = o.aim.wins.nonzero()[:, 1].view(len(o), -1)
    none = torch.zeros(len(o), dtype=torch.bool, device=o.x.device)
    s = o.rows(x=o.x, end=o.x, winners=winners, projected=none, found=none, done=none)

    def leads(aim: Aim, z: Tensor) -> Tensor:
        """Each winning score minus the best losing one."""
        return z.gather(1, aim.of(s.winners)) - z.masked_fill(aim.wins, -INF).amax(1, keepdim=True)

    for _ in o.steps(steps):
        lead, gradients = o.jacobian(s.x, leads, columns=winners.shape[1], where=~s.done)
        fooled = ~s.done & (lead.amax(1) > 0)
        s.end, s.found, s.done = pick(fooled, s.x, s.end), s.found | fooled, s.done | (fooled & s.projected)
        s.x, s.projected = torch.where(per_row(s.done, s.x), s.x, _next(o, s.x, lead, gradients, fooled, overshoot)), fooled
        if bool(s.done.all()):
            break
    _halve(o, s.end, s.found, halvings)


def _next(o: Oracle, x: Tensor, lead: Tensor, gradients: Tensor, fooled: Tensor, overshoot: float) -> Tensor:
    """Where the point fools, the clean input's nearest point on the plane through it, normal to the gradient of the winner's lead; elsewhere
    a DeepFool step, to the nearest point beyond the nearest boundary. Inside the box, either is exact."""
    slope = norms_of_rows(gradients, 2.0, o.x.ndim - 1).clamp_min(1e-12)
    k = torch.where(fooled, lead.argmax(1), (lead.abs() / slope).argmin(1))
    row = torch.arange(len(o), device=k.device)
    w, origin = gradients[row, k].flatten(1), pick(fooled, o.x, x)
    beyond = (1 + overshoot) * (NUDGE[2.0] * o.ball.width * slope[row, k] - lead[row, k])
    lack = torch.where(fooled, (w * (x - o.x).flatten(1)).sum(1), beyond)
    lower, upper = o.limits
    change = onto_plane(origin.flatten(1), w, lack, (lower.flatten(1), upper.flatten(1)), 2.0)
    return o.project(origin + change.view_as(x))


def _halve(o: Oracle, end: Tensor, found: Tensor, halvings: int) -> None:
    """The nearest point that fools between the clean input and `end`, to one part in 2^halvings."""
    s = o.rows(end=end, found=found, low=end.new_zeros(len(o)), high=end.new_ones(len(o)))
    for _ in o.steps(halvings):
        share = (s.low + s.high) / 2
        fooled = o.look(torch.lerp(o.x, s.end, per_row(share, s.end)), Aim.margin, where=s.found) > 0
        s.low, s.high = torch.where(fooled, s.low, share), torch.where(fooled, share, s.high)
    o.hand_in(torch.lerp(o.x, s.end, per_row(s.high, s.end)), s.found)
