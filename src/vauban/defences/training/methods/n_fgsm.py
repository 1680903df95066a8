"""Training on one gradient step from strong noise."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.single_step import BALLS, noisy_step
from vauban.settings import Positive


@method(paper="de Jorge et al. 2022, arXiv:2202.01181, algorithm 1", on=BALLS)
def n_fgsm(lesson: Lesson, *, noise: Positive = 2.0, step: Positive = 1.0) -> Tensor:
    """Cross-entropy after noise of up to `noise` radii and one step, which together may leave the ball; made for small radii (16/255 at most)."""
    return lesson.cross_entropy(lesson.scores(lesson.searched(noisy_step(noise, step))))
