"""Training for answers that agree in different noise."""

from torch import Tensor

from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import right_under_noise
from vauban.defences.training.method import method
from vauban.defences.training.methods.gaussian import noises
from vauban.settings import Count, Natural, Positive


@method(paper="Jeong and Shin 2020, arXiv:2006.04062, section 3", measure=right_under_noise)
def consistency(lesson: Lesson, *, sigma: Positive = 0.25, weight: Natural = 10.0, entropy: Natural = 0.5, draws: Count = 2) -> Tensor:
    """Cross-entropy in Gaussian noise, and `weight` times how far the answers in each draw are from their mean (Kullback-Leibler).

    `entropy` weighs the entropy of the mean, so that agreement is not bought with doubt. Published: `weight` 10, 5, 5 for `sigma` 0.25, 0.5, 1
    on MNIST, and 20, 10, 10 on CIFAR-10.
    """
    noisy = lesson.x + sigma * noises(lesson, draws)
    z = lesson.scores(noisy.flatten(0, 1)).unflatten(0, (draws, -1))
    logs = z.log_softmax(2)
    mean = logs.exp().mean(0)
    sure = mean.clamp_min(1e-20).log()
    apart = (mean * (sure - logs)).sum(2).mean()
    return lesson.cross_entropy(z.flatten(0, 1), lesson.y.repeat(draws)) + weight * apart - entropy * (mean * sure).sum(1).mean()
