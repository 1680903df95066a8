"""Members of an ensemble that agree on the answer and differ in everything else."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.team import team
from vauban.settings import Natural


@method(paper="Pang et al. 2019, arXiv:1901.08846, equations 3 to 5")
def adp(lesson: Lesson, *, alpha: Natural = 2.0, beta: Natural = 0.5, attacked: bool = True) -> Tensor:
    """Adaptive diversity promoting: cross-entropy of each member, less `alpha` times the entropy of the mean answer and `beta` times the log of how
    different the members' other probabilities are; on attacked inputs, or with `attacked` off on clean ones."""
    x = lesson.attacked() if attacked else lesson.x
    scores = torch.stack([member.learn(x) for member in team(lesson)])
    loss = torch.stack([lesson.cross_entropy(z) for z in scores]).sum()
    mean = scores.softmax(2).mean(0)
    entropy = -(mean * mean.clamp_min(1e-12).log()).sum(1)
    return loss - (alpha * entropy + beta * diversity(scores.softmax(2), lesson.y).clamp_min(1e-12).log()).mean()


def diversity(p: Tensor, y: Tensor) -> Tensor:
    """Squared volume spanned by the members' normalised probabilities of wrong classes (n,), from p (members, n, classes); in [0, 1]."""
    wrong = torch.ones_like(p[0], dtype=torch.bool).scatter_(1, y[:, None], value=False)
    others = p.movedim(1, 0)[wrong[:, None].expand(-1, len(p), -1)].view(p.shape[1], len(p), -1)
    unit = F.normalize(others + 1e-20, dim=2)
    gram = unit @ unit.transpose(1, 2)
    return torch.linalg.det(gram + 1e-6 * torch.eye(len(p)).to(gram))
