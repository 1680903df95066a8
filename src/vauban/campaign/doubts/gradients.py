"""Doubts about gradients: signs that they are missing, zero, wrong, or say little about where the answers change."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.attacks.parts.losses import cross_entropy, margin
from vauban.attacks.parts.starts import random_start
from vauban.campaign.doubts.answers import steady
from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.doubts.surface import Surface, surface_of
from vauban.campaign.doubts.trace import Trace, trace
from vauban.campaign.record import Doubt
from vauban.doors import Aim, Oracle
from vauban.threat import Access

ZERO_SHARE = 0.05
"""From this share of rows (of gradients on the way) on, the attacks that follow gradients are blind on too many."""
FEW_ROWS = 0.25
"""A share of the rows looked at closely that bad luck with kinks explains."""
DIRECTIONS = 3
STEPS = (0.3, 0.1, 0.03)
"""Lengths of differences, as shares of what the threat moves a feature by."""
OFF = 0.5
"""A difference that the gradient misses by more than this share of it."""
SMALL = 0.1
"""The noise of `noisy_loss_surface`: about one step of an attack, as a share of what the threat moves a feature by."""
DRAWS = 8
NOISY = 2.0
"""By how much the change under noise that the gradient does not predict outweighs the change that it does."""


def zero_gradients(scene: Scene) -> Doubt | None:
    """Gradients that are zero, or no numbers: at the clean input and at a random point, or on the way of the campaign's longest climb."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    flat, way = _flat_rows(probe), _flat_way(probe)
    words = [f"{flat} of {len(probe)} sampled rows have no gradient at all, at the clean input and at a random point"]
    words = words if flat > ZERO_SHARE * len(probe) else []
    if way > ZERO_SHARE:
        words += [
            f"of the gradients that {probe.climb.name} met on {len(probe.survivors)} rows that withstood the campaign, {way:.0%} are zero"
        ]
    words += [f"{scene.bad_gradient} rows had gradients that are NaN or infinite"] if scene.bad_gradient else []
    return Doubt("zero-gradients", f"{'; '.join(words)}: attacks that follow gradients are blind there") if words else None


def _flat_rows(probe: Probe) -> int:
    """Rows whose gradient is zero for cross-entropy and for the margin, at both points; one that fell on the way needs no gradient."""
    met = trace(probe.oracle(probe.threat), _look_around)
    return int(((met.flat == 1).any(0) & ~(met.flat == 0).any(0) & ~met.broken).sum())


def _look_around(o: Oracle) -> None:
    """Ask for gradients at the clean inputs and at a random point of the ball."""
    with o.attacking("gradient-check", Access.GRADIENT):
        s = o.rows(x=random_start(o))
        for loss in (cross_entropy, margin):
            o.ascend(o.x, loss)
            o.ascend(s.x, loss)


def _flat_way(probe: Probe) -> float:
    """The share of zero gradients on the way of the longest climb over the rows that withstand it too; of the least such share where the
    campaign raised other objectives as well; 0 where no row withstood."""
    if not len(probe.survivors):
        return 0.0
    share = _flat_share(probe.climbed)
    for attack in probe.other_losses if share > ZERO_SHARE else ():
        share = min(share, _flat_share(trace(probe.oracle(probe.threat, probe.survivors), attack)))
    return share


def _flat_share(met: Trace) -> float:
    seen = met.flat[:, ~met.broken]
    return float(seen.nanmean().nan_to_num(0.0)) if seen.numel() else 0.0


def interrupted_graph(scene: Scene) -> Doubt | None:
    """No graph leads from the answer to the input, or to some of its features though the answer depends on them."""
    surface = surface_of(scene)
    if surface is None or not steady(scene):
        return None
    gradient = surface.slope(surface.x, _mixed)
    if gradient is None:
        return Doubt("interrupted-graph", "no graph leads from the answers to the inputs: a step before them is not differentiated through")
    if not probe_of(scene).own_gradient:
        return None
    cut = (gradient == 0).all(0)
    if not bool(cut.any()) or bool(cut.all()):
        return None
    before, after = surface.scores(surface.x), surface.scores(torch.where(cut, surface.anywhere(), surface.x))
    felt = int(((before - after).abs().amax(1) > 1e-3 * before.std()).sum())
    if 2 * felt <= len(surface):
        return None
    return Doubt(
        "interrupted-graph",
        f"{int(cut.sum())} of {cut.numel()} features have no gradient, though the answers depend on them: part of the graph is cut off",
    )


def _mixed(aim: Aim, z: Tensor) -> Tensor:
    """All scores, in unlike parts, so that none of them cancels."""
    return (z * torch.linspace(0.5, 1.5, z.shape[1], dtype=z.dtype, device=z.device).sqrt()).sum(1)


def _sloped(scene: Scene) -> tuple[Surface, Tensor] | None:
    """The margin's surface with its own gradient at the rows; None where there is none, or the answers move by themselves."""
    surface = surface_of(scene)
    if surface is None or not probe_of(scene).own_gradient or not steady(scene):
        return None
    gradient = surface.slope(surface.x)
    return None if gradient is None else (surface, gradient)


def finite_differences_disagree(scene: Scene) -> Doubt | None:
    """Changes of the margin along random directions are not those that the gradient says, however small the step."""
    found = _sloped(scene)
    if found is None:
        return None
    surface, gradient = found
    told, agreed = _differences(surface, gradient)
    wrong = int((told & ~agreed).sum())
    if wrong <= max(FEW_ROWS * int(told.sum()), 1):
        return None
    return Doubt(
        "finite-differences-disagree",
        f"on {wrong} of {int(told.sum())} rows the margin does not change along random directions as its gradient says: gradients mislead",
    )


def _differences(surface: Surface, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """For each row, whether differences could be told from rounding at any step, and whether they agreed with the gradient at any, bool."""
    ways = [surface.signs("way", i) for i in range(DIRECTIONS)]
    predicted = torch.stack([_along(gradient, way) for way in ways])
    noise = surface.rounding
    told = torch.zeros(len(surface), dtype=torch.bool)
    agreed = torch.zeros_like(told)
    for share in STEPS:
        h = share * surface.reach
        measured = torch.stack([(surface.margin(surface.x + h * w) - surface.margin(surface.x - h * w)) / (2 * h) for w in ways])
        size = torch.maximum(measured.norm(dim=0), predicted.norm(dim=0))
        clear = size * h > 10 * noise
        told |= clear
        agreed |= clear & ((measured - predicted).norm(dim=0) <= OFF * size)
    return told, agreed


def _along(gradient: Tensor, way: Tensor) -> Tensor:
    return (gradient * way).flatten(1).cpu().double().sum(1)


def noisy_loss_surface(scene: Scene) -> Doubt | None:
    """Under noise as small as one step of an attack, the margin changes by far more than its gradient says."""
    found = _sloped(scene)
    if found is None:
        return None
    surface, gradient = found
    h, here = SMALL * surface.reach, surface.margin(surface.x)
    predicted, left = torch.zeros_like(here), torch.zeros_like(here)
    for i in range(DRAWS):
        way = surface.signs("noise", i)
        said = h * _along(gradient, way)
        predicted, left = predicted + said**2, left + (surface.margin(surface.x + h * way) - here - said) ** 2
    noisy = int(((predicted > 0) & (left > NOISY**2 * predicted + 100 * DRAWS * surface.rounding**2)).sum())
    if 2 * noisy <= len(surface):
        return None
    return Doubt(
        "noisy-loss-surface",
        f"on {noisy} of {len(surface)} rows, noise of {h:.2g} a feature moves the margin more than {NOISY:g} times as much as the gradient says: "
        "steps along gradients are led by chance",
    )
