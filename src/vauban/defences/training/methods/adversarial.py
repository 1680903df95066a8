"""Training on the worst inputs that an attack finds."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method


@method(paper="Madry et al. 2018, arXiv:1706.06083, section 2")
def adversarial(lesson: Lesson) -> Tensor:
    """Cross-entropy on what the inner loop finds: with PGD in it, PGD adversarial training."""
    return lesson.cross_entropy(lesson.scores(lesson.attacked()))
