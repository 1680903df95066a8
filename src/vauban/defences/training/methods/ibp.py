"""Training on the worst scores that intervals allow."""

from torch import Tensor

from vauban.defences.training.bounding import bounded, region_of
from vauban.defences.training.inner import wider
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.settings import Positive, Share


@method(paper="Gowal et al. 2018, arXiv:1810.12715, section 3", on=("linf",), certifies=True)
def ibp(lesson: Lesson, *, kappa: Share = 0.5, widening: Positive = 1.0) -> Tensor:
    """Cross-entropy of the worst margins that intervals allow, beside that of clean inputs: makes a model that intervals certify.

    The clean part weighs 1 where the radius begins to grow and `kappa` once it has: give it long enough, such as ramp = 0.5 in the recipe.
    `widening` times the threat's radius is trained with; 1.5 at 0.1 on MNIST, less the larger the radius.
    """
    model = bounded(lesson.trainee, lesson.x)
    known = model.limits(*region_of(wider(lesson.threat, widening), lesson.x, lesson.y))
    return mixed(lesson, model.clean, model.cross_entropy(known, lesson.y), kappa)


def mixed(lesson: Lesson, clean: Tensor, worst: Tensor, kappa: float) -> Tensor:
    """Cross-entropy of clean scores (n, classes) and upper bounds of the cross-entropy (n,), the first weighing 1 at first and `kappa` at last."""
    weight = 1 - (1 - kappa) * lesson.share
    return weight * lesson.cross_entropy(clean) + (1 - weight) * worst.mean()
