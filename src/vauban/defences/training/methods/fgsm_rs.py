"""Training on one gradient step from a random point."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS, one_step
from vauban.settings import Positive


@method(paper="Wong et al. 2020, arXiv:2001.03994, algorithm 3", on=BALLS)
def fgsm_rs(lesson: Lesson, *, step: Positive = 1.25) -> Tensor:
    """Cross-entropy on what one step of `step` radii from a random point finds: about two plain steps' time, and unsteady from seed to seed."""
    return lesson.cross_entropy(lesson.scores(lesson.searched(one_step(step))))
