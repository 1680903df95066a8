"""The space an attack moves in: the inputs themselves, or the parameters of transformations of them."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from vauban.geometry.body import Body


class Space(Protocol):
    """Where an attack's variable lives, and what input a value of it stands for.

    For an Lp ball the variable is the input; for transformations it is a few parameters, and the attacks need not know.
    """

    @property
    def body(self) -> Body:
        """What the variable may be."""
        ...

    def start(self, x: Tensor) -> Tensor:
        """The variable that stands for the clean inputs (n, *shape)."""
        ...

    def decode(self, x: Tensor, v: Tensor) -> Tensor:
        """The inputs that the variable v stands for, differentiable in v; x holds the clean rows."""
        ...

    @property
    def identity(self) -> bool:
        """Whether the variable is the input itself."""
        ...
