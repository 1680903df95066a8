"""Training for less confidence the further an input is changed."""

import torch
from torch import Tensor

from vauban.attacks.evasion.gradient.conf_max import sureness_of
from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.select import pick
from vauban.attacks.parts.starts import random_change
from vauban.defences.training.inner import searched
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.measures import stood_or_rejected
from vauban.defences.training.method import method
from vauban.defences.training.methods.free import ball_of
from vauban.defences.training.single_step import BALLS, Search
from vauban.doors import Oracle
from vauban.geometry import per_row
from vauban.settings import Count, Positive, Share

SHRINK = 1.5


@method(paper="Stutz et al. 2020, arXiv:1910.06259, algorithms 1 and 2", on=BALLS, measure=stood_or_rejected)
def ccat(lesson: Lesson, *, power: Positive = 10.0, steps: Count = 20, step: Positive = 0.1, momentum: Share = 0.9) -> Tensor:
    """Cross-entropy of half of the batch clean, and of the other half where a wrong class has most confidence, with softer targets.

    The target of an input at distance d is the label with the weight (1 - d / eps)^`power`, and the uniform distribution with the rest. At
    inference, wear the defence max-softmax: what the model is not sure of is rejected.
    """
    half = torch.arange(len(lesson.y) // 2, len(lesson.y), device=lesson.y.device)
    part = lesson.batch.take(half)
    if not len(part):
        return lesson.cross_entropy(lesson.scores(lesson.x))
    x = lesson.found(lambda: searched(lesson.trainee, part, lesson.threat, confident(steps, step, momentum), lesson.seed))
    z = lesson.scores(torch.cat([lesson.x[: len(lesson.y) - len(part)], x]))
    clean, found = z.split([len(z) - len(part), len(part)])
    body, _ = ball_of(lesson)
    kept = (1 - (body.distance(part.x, x) / lesson.eps).clamp(0, 1)) ** power
    unsure = -(kept.to(z)[:, None] * torch.nn.functional.one_hot(part.y, z.shape[1]) + (1 - kept.to(z)[:, None]) / z.shape[1])
    soft = (unsure * found.log_softmax(1)).sum(1).mean()
    return (lesson.cross_entropy(clean, lesson.y[: len(clean)]) + soft) / 2 if len(clean) else soft


def confident(steps: int, step: float, momentum: float) -> Search:
    """Ascent to the most confidence in a wrong class, with momentum, going back and shortening the step wherever it falls.

    Every other row begins at the clean input, the rest at random points of random size.
    """

    def search(o: Oracle) -> Tensor:
        aside = per_row(o.noise.uniform(2)[:, 0].sub(0.5).clamp_min(0).mul(2).to(o.x), o.x)
        x = tried = o.project(o.x + aside * random_change(o, o.eps))
        slope, memory = torch.zeros_like(x), torch.zeros_like(x)
        top, size = x.new_full((len(x),), -torch.inf), x.new_full((len(x),), step * o.eps)
        loss = sureness_of(torch.full((len(x),), -1, device=x.device))
        for _ in range(steps):
            value, gradient = o.ascend(tried, loss)
            better = value > top
            x, slope, top = pick(better, tried, x), pick(better, gradient, slope), torch.where(better, value, top)
            size = torch.where(better, size, size / SHRINK)
            memory = pick(better, momentum * memory + (1 - momentum) * unit_mean(slope), unit_mean(slope))
            tried = o.project(x + o.steepest(memory, x, size))
        return x

    return search
