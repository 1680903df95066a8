"""What a network makes of an input just before it decides: the input of its last linear layer, caught on the way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.registry import Clean
from vauban.errors import BadData, BadTarget
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target, Torch
from vauban.target.around import Around

CHUNK = 256
LEAST = 2
"""Rows of each class that a detector must be fitted on, at least."""


class Layer:
    """The input of a module, whenever it is run.

    Args:
        module: the last linear layer of a classifier.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @contextmanager
    def watched(self) -> Generator[list[Tensor]]:
        """What the module is given meanwhile, one tensor a pass."""
        caught: list[Tensor] = []

        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            caught.append(given[0].flatten(1).float())

        handle = self.module.register_forward_pre_hook(note)
        try:
            yield caught
        finally:
            handle.remove()


class Featured(Detector):
    """A detector that looks at penultimate features, caught in the pass that gives the scores: it costs no pass of its own."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def look(self, model: Surrogate, x: Tensor, draw: RowNoise | None) -> Seen:
        with self.layer.watched() as caught:
            z = model.smooth(x, draw)
        return Seen(x, z, model, draw, mean_of(caught, len(x)))


def caught_in(seen: Seen) -> Tensor:
    """The features of a pass, float (n, d)."""
    if seen.inside is None:
        raise BadTarget("a detector of features was shown a pass of which none were caught; let it look itself")
    return seen.inside


@dataclass(frozen=True, eq=False)
class Known:
    """Features float (m, d) and classes int64 (m,) of clean rows that the target classifies correctly, on the target's device; where they were
    caught, and the number of classes."""

    features: Tensor
    y: Tensor
    layer: Layer
    classes: int


def known_of(target: Target, clean: Clean) -> Known:
    """Penultimate features of the clean rows that the target classifies correctly.

    Raises:
        BadTarget: there is no torch module inside, or no linear layer in it.
        BadData: a class has fewer than two such rows.
    """
    module, device = module_inside(target), target.device
    layer = last_linear(target, module, clean.x[:2].to(device))
    found: list[Tensor] = []
    right: list[Tensor] = []
    classes = 0
    with torch.no_grad():
        for part in torch.arange(len(clean)).split(CHUNK):
            draw = RowNoise(part.to(device), 0, "fitting") if target.randomised else None
            with layer.watched() as caught:
                z = target.scores(clean.x[part].to(device), draw)
            found.append(mean_of(caught, len(part)))
            right.append(z.argmax(1).cpu() == clean.y[part])
            classes = z.shape[1]
    good = torch.cat(right)
    y = clean.y[good]
    rare = [c for c in range(classes) if int((y == c).sum()) < LEAST]
    if rare:
        raise BadData(
            f"class {rare[0]} has {int((y == rare[0]).sum())} clean rows that the model gets right to fit a detector on; give {LEAST} or more of "
            "every class (half of the rows are for the threshold)"
        )
    return Known(torch.cat(found)[good.to(device)], y.to(device), layer, classes)


def module_inside(target: Target) -> nn.Module:
    """The torch module that a target comes down to; raises `BadTarget` where there is none."""
    inner = target
    while isinstance(inner, Around):
        inner = inner.target
    if not isinstance(inner, Torch):
        raise BadTarget(
            f"{target.name}: a detector of features looks inside a torch module, and this is a {inner.kind} target; take one that looks at scores, "
            "such as energy"
        )
    return inner.model


def last_linear(target: Target, module: nn.Module, x: Tensor) -> Layer:
    """The linear layer that is run last when the target answers inputs x; raises `BadTarget` where none is."""
    order: list[nn.Module] = []

    def note(layer: nn.Module, _: tuple[Tensor, ...]) -> None:
        order.append(layer)

    handles = [m.register_forward_pre_hook(note) for m in module.modules() if isinstance(m, nn.Linear)]
    try:
        draw = RowNoise(torch.arange(len(x), device=x.device), 0, "fitting") if target.randomised else None
        target.scores(x, draw)
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise BadTarget(
            f"{target.name}: the module has no linear layer whose input could be looked at; take a detector of scores, such as energy"
        )
    return Layer(order[-1])


def mean_of(caught: list[Tensor], rows: int) -> Tensor:
    """The features of one question; their mean where it took several passes (draws of what is random)."""
    if not caught or any(len(f) != rows for f in caught):
        raise BadTarget(
            "a detector of features needs the model to be run on each input as it is; here its last linear layer saw "
            f"{', '.join(str(len(f)) for f in caught) or 'no'} rows for {rows} inputs"
        )
    return caught[0] if len(caught) == 1 else torch.stack(caught).mean(0)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """L2 distances (n, m) of rows (n, d) and (m, d), from the differences themselves: of no row do they depend on the others."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
