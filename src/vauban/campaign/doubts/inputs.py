"""Doubts about the inputs: signs that the model sees others than it was made for, or only steps of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vauban.campaign.doubts.answers import steady
from vauban.campaign.doubts.probe import probe_of
from vauban.campaign.doubts.scene import Bools, Ints, Scene
from vauban.campaign.doubts.surface import surface_of
from vauban.campaign.record import Doubt
from vauban.measure import mcnemar
from vauban.noise import RowNoise
from vauban.threat import Ball

SEEN = 64
"""Rows that are asked about in other scalings."""
LEAST = 8
"""Fewer rows that only another scaling answers rightly would tell nothing."""
LEVEL = 0.01
SKILL = 0.1
"""The skill below which a model is near chance: balanced accuracy beyond chance, as a share of all that can be beyond it."""
DECENT = 0.3
"""The skill that another scaling must reach to be what the model was made for."""
TINY_STEP = 1e-4
"""A step, as a share of the box, that moves the scores of any model that does not round."""


def wrong_normalisation(scene: Scene) -> Doubt | None:
    """Inputs that are not scaled as the model expects, or a radius in units that are not those of the inputs."""
    said = _better_scaled(scene) or _near_chance(scene) or _other_units(scene)
    return Doubt("wrong-normalisation", said) if said else None


Scaling = Callable[[Tensor], Tensor]


def _scalings(scene: Scene) -> dict[str, Scaling]:
    """Other ways in which inputs come scaled, each from the inputs (n, *shape) as given."""
    x = scene.plan.data.x
    lo, hi = float(x.min()), float(x.max())
    per = (0, *range(2, x.ndim)) if scene.plan.data.kind == "image" else (0,)
    mean, std = x.mean(per, keepdim=True), x.std(per, keepdim=True, unbiased=False).clamp_min(1e-6)
    unit = (lambda v: (v - lo) / (hi - lo)) if hi > lo else (lambda v: v)
    return {
        "times 255": lambda v: v * 255,
        "over 255": lambda v: v / 255,
        "moved to [0, 1]": unit,
        "moved to [-1, 1]": lambda v: 2 * unit(v) - 1,
        "moved to [0, 255]": lambda v: 255 * unit(v),
        "standardised by their own mean and deviation": lambda v: (v - mean) / std,
        "with their own mean and deviation taken back once more": lambda v: v * std + mean,
    }


def _better_scaled(scene: Scene) -> str:
    """Whether significantly more rows are answered rightly when all are scaled otherwise (exact McNemar, shared among the scalings)."""
    right = torch.isin(scene.plan.data.ids, torch.from_numpy(scene.rows[scene.correct]))[:SEEN]
    if int((~right).sum()) < LEAST:
        return ""
    scalings = _scalings(scene)
    for name, scaled in scalings.items():
        now = _right(scene, scaled)
        gained, lost = int((now & ~right).sum()), int((right & ~now).sum())
        clearly = gained > lost and mcnemar(gained, lost) < LEVEL / len(scalings)
        if clearly and _skill(now.numpy(), scene.plan.data.y[:SEEN].numpy()) > DECENT:
            return (
                f"of {len(right)} rows {int(right.sum())} are answered rightly as given, and {int(now.sum())} with inputs {name}: "
                "the model expects those"
            )
    return ""


def _right(scene: Scene, scaled: Scaling) -> Tensor:
    """Which of the first rows are answered rightly when scaled, bool (n,)."""
    data, target = scene.plan.data, scene.plan.target
    x = scaled(data.x[:SEEN]).to(target.device)
    noise = RowNoise(data.ids[:SEEN].to(target.device), scene.plan.seed, "doubts") if target.randomised else None
    try:
        return target.labels(x, noise).cpu() == data.y[:SEEN]
    except Exception:  # these inputs lie outside the declared box, where a target may refuse to answer: then it does not expect them
        return torch.zeros(len(x), dtype=torch.bool)


def _near_chance(scene: Scene) -> str:
    """Whether the mean over classes of clean accuracy is hardly better than the same answer to everything."""
    classes = len(set(scene.label.tolist()))
    if classes < 2 or len(scene.label) < SEEN // 2 or _skill(scene.correct, scene.label) >= SKILL:
        return ""
    return (
        f"clean accuracy, averaged over {classes} classes, is near chance: inputs may be scaled otherwise than the model expects, or the classes "
        "be in another order"
    )


def _skill(correct: Bools, label: Ints) -> float:
    """Balanced accuracy beyond chance, as a share of all that can be beyond it: 0 for the same answer to everything, 1 for no error.

    >>> import numpy as np
    >>> _skill(np.array([True, True, True, False]), np.array([0, 0, 0, 1]))
    0.0
    """
    classes = sorted(set(label.tolist()))
    chance = 1 / len(classes)
    balanced = sum(float(correct[label == c].mean()) for c in classes) / len(classes)
    return (balanced - chance) / (1 - chance) if len(classes) > 1 else balanced


def _other_units(scene: Scene) -> str:
    """A radius in whole 255ths for pictures whose box is not 1 wide: the change is not that of so many levels of a pixel."""
    ball, data = scene.siege.threat.perturbation, scene.plan.data
    if data.kind != "image" or not isinstance(ball, Ball) or not math.isinf(ball.norm) or math.isinf(ball.eps):
        return ""
    lows, highs = (b if isinstance(b, tuple) else (b,) for b in (ball.lo, ball.hi))
    widths = (
        {h - low for low in lows for h in highs}
        if min(len(lows), len(highs)) == 1
        else {h - low for low, h in zip(lows, highs, strict=True)}
    )
    levels = 255 * ball.eps
    if widths <= {1.0, 255.0} or not _whole(levels) or all(_whole(levels / w) for w in widths):
        return ""
    least, most = levels / max(widths), levels / min(widths)
    real = f"{least:.2g}" if most < 1.05 * least else f"{least:.2g} to {most:.2g}"
    return (
        f"eps = {round(levels)}/255 in a box {min(widths):.3g} to {max(widths):.3g} wide is {real} levels of a pixel: these inputs look normalised; "
        "give them in [0, 1] and let the target normalise (mean=, std=)"
    )


def _whole(number: float) -> bool:
    return number > 0.5 and abs(number - round(number)) < 1e-3


def quantised_input(scene: Scene) -> Doubt | None:
    """The answers are a staircase: the same for inputs a little apart, without a gradient, and others further away."""
    surface = surface_of(scene)
    if surface is None or not probe_of(scene).own_gradient or not steady(scene):
        return None
    here, gradient = surface.scores(surface.x), surface.slope(surface.x)
    level = torch.ones(len(surface), dtype=torch.bool, device=here.device)
    if gradient is not None:
        level &= (gradient == 0).flatten(1).all(1)
    moved, step = torch.zeros_like(level), min(TINY_STEP * surface.width, surface.reach)
    for i in range(4):
        way = surface.signs("stair", i)
        level &= (surface.scores(surface.x + step * way) == here).all(1)
        moved |= (surface.scores(surface.x + surface.reach * way) != here).any(1)
    stairs = int((level & moved).sum())
    if 2 * stairs <= len(surface):
        return None
    return Doubt(
        "quantised-input",
        f"the scores of {stairs} of {len(surface)} rows stay exactly the same under steps of {step:.2g} and have no gradient, "
        f"but change under steps of {surface.reach:.2g}: the inputs are rounded on the way",
    )
