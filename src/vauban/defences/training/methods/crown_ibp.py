"""Training on the worst scores that lines back to the input allow."""

from torch import Tensor

from vauban.defences.training.bounding import bounded, region_of
from vauban.defences.training.inner import wider
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.methods.ibp import mixed
from vauban.settings import Positive, Share


@method(paper="Zhang et al. 2020, arXiv:1906.06316, section 3; loss fusion: Xu et al. 2020, arXiv:2002.12920", on=("linf",), certifies=True)
def crown_ibp(lesson: Lesson, *, kappa: Share = 0.5, beta: Share = 0.0, widening: Positive = 1.0) -> Tensor:
    """As ibp, but the worst cross-entropy is bounded by lines from the loss to the input first, and by intervals later.

    Lines weigh 1 where the radius begins to grow, where intervals are hopelessly wide, and `beta` once it has.
    """
    model = bounded(lesson.trainee, lesson.x)
    known = model.limits(*region_of(wider(lesson.threat, widening), lesson.x, lesson.y))
    weight = 1 - (1 - beta) * lesson.share
    worst = (1 - weight) * model.cross_entropy(known, lesson.y)
    if weight:
        worst = worst + weight * model.crown_cross_entropy(known, lesson.y)
    return mixed(lesson, model.clean, worst, kappa)
