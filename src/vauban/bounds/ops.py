"""What operations of a network are, for bounds: affine maps with their transposes, and bends with lines below and above them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.bounds.relax import Relaxation

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Op(ABC):
    """One operation on batches (n, *shape).

    Attributes:
        inputs: the places it reads: 0 is the network's input, i the output of operation i - 1.
        shape: one row of its output.
        where: what the model calls it, for messages.
    """

    inputs: tuple[int, ...]
    shape: Shape
    where: str

    @abstractmethod
    def __call__(self, *x: Tensor) -> Tensor:
        """Its value in float64 at batches (n, *shape) of its inputs."""


class Affine(Op):
    """W x + b, with one W for each input.

    Coefficients a (s, n, *shape) are s linear functions of the output for each of n rows, n = 1 where they are the same for all.
    """

    @property
    @abstractmethod
    def terms(self) -> Pair:
        """The most terms that are added up for one output, and for one input of the transpose; (0, 0) where nothing is computed."""

    @abstractmethod
    def absolute(self, *m: Tensor) -> Tensor:
        """|W| m, without the offset."""

    @abstractmethod
    def back(self, a: Tensor) -> tuple[Tensor, ...]:
        """The coefficients of each input: W' a."""

    def offset(self, a: Tensor) -> Tensor | float:
        """The constant a.b, (s, n); 0 where there is no offset."""
        return 0.0

    def heft(self) -> Tensor | float:
        """Absolute values of what is added besides W x, broadcastable to the output; 0 where there is no offset."""
        return 0.0


class Bend(Op):
    """A function of one input that is bounded by straight lines between known limits."""

    @abstractmethod
    def relax(self, lo: Tensor, hi: Tensor, slope: Tensor | None = None) -> Relaxation:
        """Lines below and above it for inputs in [lo, hi]; `slope` in [0, 1] chooses the lower lines where there is a choice."""

    def extent(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """Its least and greatest values for inputs in [lo, hi]; here those at the ends, for functions that rise with each feature."""
        return self(lo), self(hi)

    def open(self, lo: Tensor, hi: Tensor) -> Tensor:
        """Which features of the input are worth tighter limits, bool."""
        return hi > lo

    def error(self, lo: Tensor, hi: Tensor, unit: float) -> Tensor:
        """How far a machine of unit roundoff `unit` may be off when it computes this op, per feature of the output."""
        return unit * self(torch.maximum(lo.abs(), hi.abs())).abs()


def matrix_of(op: Affine, before: Shape) -> tuple[Tensor, Tensor]:
    """The weight (outputs, inputs) and the offset (outputs,) of an affine op with one input of row shape `before`, written out."""
    size = math.prod(before)
    zero = torch.zeros(1, *before, dtype=torch.float64)
    device = next((t.device for t in vars(op).values() if isinstance(t, Tensor)), zero.device)
    offset = op(zero.to(device))
    rows = op(torch.eye(size, dtype=torch.float64, device=device).view(size, *before)) - offset
    return rows.flatten(1).T, offset.flatten()
