"""Randomised smoothing: any classifier becomes one whose answers come with a radius in which they cannot change.

    smoothed = Smoothed(target, sigma=0.5)
    for found in certify(smoothed, x, y, Ball(0.5, 2)):
        print(found.row, found.verdict, found.samples)

`certify` takes as many samples as each row's answer needs and no more; what it certifies is false with chance alpha at most, for each row. The
statement is about the smoothed classifier, which answers with the class that most noisy copies are given: not about the model inside.
"""

from vauban.defences.smoothing.booth import Booth
from vauban.defences.smoothing.fixed import certify_fixed, largest
from vauban.defences.smoothing.harm import Harm, harm_of
from vauban.defences.smoothing.noises import NOISES, Gaussian, Laplace, Noise, Uniform, noise_of
from vauban.defences.smoothing.question import Question, question_of
from vauban.defences.smoothing.results import Outcome, Point, Verdict, curve
from vauban.defences.smoothing.sequential import certify
from vauban.defences.smoothing.smoothed import Smoothed

__all__ = [
    "NOISES",
    "Booth",
    "Gaussian",
    "Harm",
    "Laplace",
    "Noise",
    "Outcome",
    "Point",
    "Question",
    "Smoothed",
    "Uniform",
    "Verdict",
    "certify",
    "certify_fixed",
    "curve",
    "harm_of",
    "largest",
    "noise_of",
    "question_of",
]
