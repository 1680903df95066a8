"""Training on small boxes around adversarial inputs."""

import torch
from torch import Tensor

from vauban.attacks.parts.losses import cross_entropy
from vauban.defences.training.bounding import bounded, region_of
from vauban.defences.training.inner import wider
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import method
from vauban.defences.training.methods.ibp import mixed
from vauban.settings import Count, Positive, Share


@method(paper="Müller et al. 2023, arXiv:2210.04871, section 3", on=("linf",), certifies=True)
def sabr(
    lesson: Lesson, *, part: Share = 0.4, steps: Count = 8, step: Positive = 0.25, kappa: Share = 0.0, widening: Positive = 1.0
) -> Tensor:
    """Cross-entropy of the worst margins that intervals allow in a box of `part` of the radius, placed where the loss is high.

    The box lies inside the ball: adversarial inputs are found in the ball and moved to where the box fits. `part` = 0.4 for small radii, 0.6 to
    0.9 for large ones; 1 is ibp. What is certified by intervals is less than with ibp, and by tighter bounds more.
    """
    threat = wider(lesson.threat, widening)
    found = lesson.climbed(cross_entropy, steps=steps, step=step, threat=threat)
    low, high = region_of(threat, lesson.x, lesson.y, share=1 - part)
    model = bounded(lesson.trainee, lesson.x)
    known = model.limits(*region_of(threat, lesson.x, lesson.y, torch.clamp(found, low, high), part))
    return mixed(lesson, model.clean, model.cross_entropy(known, lesson.y), kappa)
