"""The Jacobian-based saliency map attack."""

import torch
from torch import Tensor

from vauban.attacks.registry import Count, Share, attack
from vauban.doors import Aim, Oracle
from vauban.threat import Access

CANDIDATES = 96
"""Pairs are sought among so many features, the best by themselves: all pairs of an image of 3,072 features would be 4.7 million a row."""


@attack(Access.GRADIENT, on=("l0",), minimal=True, paper="Papernot et al. 2016, arXiv:1511.07528, algorithm 3")
def jsma(o: Oracle, steps: Count = 100, theta: Share = 1.0) -> None:
    """At every step the pair of features whose change best raises the likeliest winning score and lowers all others, moved by `theta` of the box."""
    s = o.rows(x=o.x)

    def for_and_against(aim: Aim, z: Tensor) -> Tensor:
        """The likeliest winning score, and the sum of all others."""
        target = z.gather(1, aim.best_winner(z)[:, None])
        return torch.cat([target, z.sum(1, keepdim=True) - target], 1)

    for _ in o.steps(steps):
        _, gradients = o.jacobian(s.x, for_and_against, columns=2)
        lower, upper = o.limits
        move = _pair(gradients[:, 0].flatten(1), gradients[:, 1].flatten(1), (s.x - lower).flatten(1), (upper - s.x).flatten(1))
        stuck = (move == 0).all(1)
        s.x = o.project(s.x + move.view_as(s.x) * theta * o.ball.width)
        o.leave(stuck)
    o.submit(s.x)


def _pair(alpha: Tensor, beta: Tensor, down: Tensor, up: Tensor) -> Tensor:
    """The move (n, d) of -1, 0 or +1: of the pair with the largest -(alpha_p + alpha_q)(beta_p + beta_q), equation 8, both ways at once."""
    sign = torch.where(alpha > 0, 1.0, -1.0)
    room = torch.where(alpha > 0, up, down) > 1e-6
    gain, loss = alpha * sign, beta * sign
    single = torch.where(room, gain - loss, -torch.inf)
    worth, chosen = single.topk(min(CANDIDATES, single.shape[1]), dim=1)
    a, b = gain.gather(1, chosen), loss.gather(1, chosen)
    pairs_a, pairs_b = a[:, :, None] + a[:, None], b[:, :, None] + b[:, None]
    saliency = torch.where((pairs_a > 0) & (pairs_b < 0), -pairs_a * pairs_b, pairs_a - 1e6)
    usable = torch.isfinite(worth)
    saliency = torch.where(usable[:, :, None] & usable[:, None], saliency, -torch.inf)
    saliency = saliency.masked_fill(torch.eye(saliency.shape[1], dtype=torch.bool, device=alpha.device), -torch.inf)
    best = saliency.flatten(1).argmax(1)
    pair = torch.stack([best // saliency.shape[1], best % saliency.shape[1]], 1)
    features = chosen.gather(1, pair)
    return torch.zeros_like(alpha).scatter(1, features, sign.gather(1, features) * room.gather(1, features))
