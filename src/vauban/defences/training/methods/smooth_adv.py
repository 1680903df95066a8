"""Adversarial training of the smoothed model itself."""

import math

import torch
from torch import Tensor

from vauban.attacks.parts.losses import cross_entropy
from vauban.defences.training.inner import climbed
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import right_under_noise
from vauban.defences.training.method import method
from vauban.defences.training.methods.gaussian import noises
from vauban.defences.training.single_step import BALLS
from vauban.noise import RowNoise
from vauban.settings import Count, Positive
from vauban.target import Target
from vauban.threat import Access


@method(paper="Salman et al. 2019, arXiv:1906.04584, section 2.2 (SmoothAdv-PGD)", on=BALLS, measure=right_under_noise)
def smooth_adv(lesson: Lesson, *, sigma: Positive = 0.25, draws: Count = 4, steps: Count = 10, step: Positive = 0.2) -> Tensor:
    """Cross-entropy at inputs that are worst for the mean probability over draws of Gaussian noise, in the same draws.

    Costs (`steps` + 1) * `draws` times plain training. `step` is a share of the radius.
    """
    noise = sigma * noises(lesson, draws)
    smoothed = Averaged(lesson.trainee, noise)
    x = lesson.found(lambda: climbed(smoothed, lesson.batch, lesson.threat, cross_entropy, steps, step, None, lesson.seed))
    return lesson.cross_entropy(lesson.scores((x + noise).flatten(0, 1)), lesson.y.repeat(draws))


class Averaged(Target):
    """The logarithm of a model's mean probabilities over fixed draws of noise (draws, n, *shape), for n rows in their order."""

    access = Access.GRADIENT

    def __init__(self, model: Target, noise: Tensor) -> None:
        self.model, self.noise, self.passes = model, noise, len(noise)
        self.device, self.reject, self.layout, self.name = model.device, model.reject, model.layout, model.name

    def held(self):
        return self.model.held()

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        with torch.no_grad():
            return self._mean(self.model.scores((x + self.noise).flatten(0, 1)))

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self._mean(self.model.smooth((x + self.noise).flatten(0, 1)))

    def _mean(self, z: Tensor) -> Tensor:
        return z.unflatten(0, (len(self.noise), -1)).log_softmax(2).logsumexp(0) - math.log(len(self.noise))
