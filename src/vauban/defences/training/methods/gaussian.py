"""Training in Gaussian noise, for a model that is to be smoothed."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import right_under_noise
from vauban.defences.training.method import method
from vauban.settings import Positive


@method(paper="Cohen et al. 2019, arXiv:1902.02918, section 3.3", measure=right_under_noise)
def gaussian(lesson: Lesson, *, sigma: Positive = 0.25) -> Tensor:
    """Cross-entropy in Gaussian noise of standard deviation `sigma`, in input units: that of the smoothing to come.

    Noise leaves the box, as that of smoothing does. The threat's radius plays no part.
    """
    return lesson.cross_entropy(lesson.scores(lesson.x + sigma * noises(lesson, 1)[0]))


def noises(lesson: Lesson, count: int) -> Tensor:
    """Standard normal noise for every row, several times: (count, n, *shape)."""
    drawn = lesson.noise("smoothing").normal(count, *lesson.x.shape[1:])
    return drawn.transpose(0, 1).to(lesson.x)
