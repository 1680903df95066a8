"""Adversarial training that looks longest at what is misclassified already."""

from torch import Tensor
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.methods.trades import divergence
from vauban.settings import Natural


@method(paper="Wang et al. 2020, ICLR, openreview rklOg6EFwS, equation 11")
def mart(lesson: Lesson, *, weight: Natural = 5.0) -> Tensor:
    """Boosted cross-entropy on attacked inputs, and how far answers change, weighted by how unsure the model is of the clean input."""
    attacked = lesson.attacked()
    clean, found = lesson.scores(lesson.x), lesson.scores(attacked)
    sure = clean.softmax(1).gather(1, lesson.y[:, None])[:, 0]
    unsteady = (divergence(clean, found) * (1 - sure)).mean()
    return lesson.cross_entropy(found) + runner_up(found, lesson.y).mean() + weight * unsteady


def runner_up(z: Tensor, y: Tensor) -> Tensor:
    """What the likeliest wrong class costs, -log(1.0001 - p), (n,): the second part of the boosted cross-entropy (equation 8)."""
    wrong = z.softmax(1).masked_fill(F.one_hot(y, z.shape[1]).bool(), 0.0).amax(1)
    return -(1.0001 - wrong).log()
