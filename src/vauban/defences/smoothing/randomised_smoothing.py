"""Randomised smoothing as a defence of campaign files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vauban.defences.registry import defence
from vauban.defences.smoothing.smoothed import Smoothed
from vauban.settings import Count, Positive
from vauban.target import Target
from vauban.target.around import Owed
from vauban.threat import norm_of

Small = Annotated[float, Field(gt=0, lt=0.5)]
"""A small probability."""


@defence(
    "smoothing",
    claims="every change within a radius that `vauban certify` proves for each input, but for chance alpha",
    adaptive="gradients of the mean probability over noisy copies (SmoothAdv); a success counts by the majority of fresh answers",
    paper="Cohen et al. 2019, arXiv:1902.02918; Salman et al. 2019, arXiv:1906.04584",
    owes=(Owed("pgd", {"steps": 40, "step": 0.1, "loss": "margin"}),),
)
def randomised_smoothing(
    target: Target,
    *,
    sigma: Positive,
    samples: Count = 100,
    norm: Literal["l2", "l1", "linf"] = "l2",
    noise: Literal["", "gaussian", "uniform", "laplace"] = "",
    alpha: Small = 0.001,
    draws: Count = 16,
) -> Target:
    """Answers with the class that most noisy copies of the input are given, and abstains where the votes do not tell.

    `sigma` is the standard deviation of the noise in input units; the model should have been trained with it. `samples` are the copies of one
    answer, `draws` those that the attacker's gradient is averaged over.
    """
    return Smoothed(target, sigma, samples, norm=norm_of(norm), noise=noise, alpha=alpha, draws=draws)
