"""From a threat's plain values to tensors of the right shape and device."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.errors import BadPlan
from vauban.geometry.body import Body
from vauban.geometry.l0 import L0, Pixels
from vauban.geometry.l1 import L1
from vauban.geometry.l2 import L2
from vauban.geometry.linf import Linf
from vauban.geometry.patch import Window
from vauban.geometry.space import Space
from vauban.geometry.tables import check_rows, tabular_of
from vauban.geometry.transformed import Transformed
from vauban.threat import Ball, Edits, Features, Patch, Perturbation, Transformations

BODIES: dict[float, type[Body]] = {body.p: body for body in (Linf, L2, L1, L0)}


class Plain:
    """The space of the inputs themselves."""

    identity = True

    def __init__(self, body: Body) -> None:
        self.body = body

    def start(self, x: Tensor) -> Tensor:
        return x

    def decode(self, x: Tensor, v: Tensor) -> Tensor:
        return v


def body_of(ball: Ball | Patch | Features, x: Tensor) -> Body:
    """The ball, or patch, in the shape, dtype and device of the rows x (n, *shape).

    Raises:
        BadPlan: bounds, mask or features have neither one value nor one for each feature, eps reaches beyond the whole box, a patch beyond the
            image, or pixels are to be counted where there are none.
    """
    if isinstance(ball, Features):
        return tabular_of(ball, x)
    box = _bound(ball.lo, "lo", x), _bound(ball.hi, "hi", x), _mask(ball.mask, x)
    if isinstance(ball, Patch):
        tall, wide = _pixels(x, "a patch")
        if ball.size[0] > tall or ball.size[1] > wide:
            raise BadPlan(f"patch of {ball.size[0]} x {ball.size[1]} pixels is larger than the image, {tall} x {wide}; give a smaller one")
        return Window(ball.eps, *box, sides=ball.size)
    if ball.pixels:
        tall, wide = _pixels(x, "pixels = true")
        return _counted(Pixels(ball.eps, *box), tall * wide, "pixels")
    body = BODIES[ball.norm](ball.eps, *box)
    return _counted(body, x[0].numel(), "features") if body.p == 0 else body


def _pixels(x: Tensor, what: str) -> tuple[int, int]:
    """Height and width of the images x."""
    if x.ndim != 4:
        raise BadPlan(f"{what} needs images (channels, height, width); these inputs have shape {tuple(x.shape[1:])}")
    return x.shape[2], x.shape[3]


def _counted(body: Body, most: int, what: str) -> Body:
    if most < body.eps < float("inf"):
        raise BadPlan(f"eps = {body.eps:g} {what} is more than the {most} an input has")
    return body


def space_of(perturbation: Perturbation, x: Tensor) -> Space:
    """The space that a perturbation opens around the rows x (n, *shape).

    Raises:
        BadPlan: it does not fit the shape of the rows.
        BadData: a clean row breaks a constraint on features.
    """
    if isinstance(perturbation, Edits):
        raise BadPlan("edits are of texts, and these inputs are numbers; audit texts with vauban.audit_text")
    if isinstance(perturbation, Transformations):
        return Transformed(perturbation)
    if isinstance(perturbation, Features):
        check_rows(perturbation, x)
    return Plain(body_of(perturbation, x))


def _bound(value: float | tuple[float, ...], what: str, x: Tensor) -> float | Tensor:
    if not isinstance(value, tuple):
        return value
    if len(value) != x[0].numel():
        raise BadPlan(
            f"bounds: {what} has {len(value)} values and an input has {x[0].numel()} features; give one for each, or a single number"
        )
    return torch.tensor(value, dtype=x.dtype, device=x.device).view(x.shape[1:])


def _mask(mask: tuple[bool, ...] | None, x: Tensor) -> Tensor | None:
    if mask is None:
        return None
    if len(mask) != x[0].numel():
        raise BadPlan(f"mask: {len(mask)} values, and an input has {x[0].numel()} features; give one for each")
    return torch.tensor(mask, device=x.device).view(x.shape[1:])
