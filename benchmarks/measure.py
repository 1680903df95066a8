"""CPU time of one thread beside a yardstick: the bare passes of the same model, measured in the same process right before and after.

Wall time means nothing on a shared machine, and CPU time drifts with the neighbours' use of caches and memory; so each timing is divided by
the time that the passes it made take on their own, and sides take turns instead of running one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.world import World


def one_thread() -> None:
    """Everything is measured on one thread."""
    torch.set_num_threads(1)


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU seconds that this process spends on a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


@dataclass(frozen=True)
class Yard:
    """CPU seconds of a forward pass, and of a forward pass with the gradient in the input, for one row in a batch of the given size."""

    forward: float
    both: float

    def limit(self, forwards: float, backwards: float) -> float:
        """What so many passes, counted in rows, cost on their own."""
        return forwards * self.forward + backwards * (self.both - self.forward)

    def joined(self, other: Yard) -> Yard:
        """The mean of two readings."""
        return Yard((self.forward + other.forward) / 2, (self.both + other.both) / 2)

    def drift(self, other: Yard) -> float:
        """By what share the later reading differs."""
        return other.both / self.both - 1


def yardstick(w: World, readings: int = 3) -> Yard:
    """Bare passes over the rows of a world at once: frozen parameters, ordinary layout, float32."""
    return yard_of(w.bare, w.x, w.y, readings)


def yard_of(model: nn.Module, x: Tensor, y: Tensor, readings: int) -> Yard:
    def forward() -> None:
        with torch.no_grad():
            model(x)

    def both() -> None:
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(nn.functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)

    forward()
    return Yard(median(cpu_seconds(forward) for _ in range(readings)) / len(x), median(cpu_seconds(both) for _ in range(readings)) / len(x))
