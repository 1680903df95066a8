"""Training on clean inputs: what the cost of every other method is measured against."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method


@method(paper="Rumelhart et al. 1986, doi:10.1038/323533a0")
def standard(lesson: Lesson) -> Tensor:
    """Cross-entropy on clean inputs, which withstands nothing by itself."""
    return lesson.cross_entropy(lesson.scores(lesson.x))
