"""Members of an ensemble whose gradients point different ways, over a smooth loss."""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.team import team
from vauban.settings import Natural


@method(paper="Yang et al. 2021, arXiv:2104.00671, equation 4")
def trs(lesson: Lesson, *, similarity: Natural = 1.0, smoothness: Natural = 0.05, attacked: bool = True) -> Tensor:
    """Cross-entropy of each member, with how parallel the members' loss gradients in the input are, and how large they are at attacked inputs.

    Published weights are 10 and 5 against the sum of the members' cross-entropies, for gradients of a batch's mean: of 3 members and 128 rows,
    10/3 and at most 0.01 here, where means are taken over members and gradients are those of single rows. The defaults are weaker in the first:
    small networks hardly learnt otherwise.
    """
    members = team(lesson)
    x = lesson.attacked()
    losses = torch.stack([lesson.cross_entropy(m.learn(x if attacked else lesson.x)) for m in members])
    here = [slope(m.learn, lesson.x, lesson.y) for m in members]
    parallel = torch.stack([F.cosine_similarity(a, b, dim=1).abs().mean() for a, b in combinations(here, 2)]).mean()
    steep = torch.stack([slope(m.learn, x, lesson.y).norm(dim=1).mean() for m in members]).mean()
    return losses.mean() + similarity * parallel + smoothness * steep


def slope(scores: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The gradient of each row's cross-entropy in the input, (n, features), itself differentiable in the weights."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(scores(x).float(), y, reduction="sum")
    (found,) = torch.autograd.grad(loss, x, create_graph=True)
    return found.flatten(1)
