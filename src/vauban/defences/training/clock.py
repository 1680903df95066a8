"""What the steps of an epoch took, beside plain steps timed in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Clock:
    """Seconds of whole steps, of the optimiser's part of them, of some plain steps without it, and of what was done before the first.

    Attributes:
        before: of what was done before the first step.
        ticks: the clock that steps are compared by.
        wall: seconds of whole steps on the wall.
    """

    before: float = 0.0
    ticks: Callable[[], float] = time.perf_counter
    wall: float = 0.0
    whole: list[float] = field(default_factory=list[float])
    ends: list[float] = field(default_factory=list[float])
    plain: list[float] = field(default_factory=list[float])

    @contextmanager
    def step(self) -> Generator[None]:
        """One step of training."""
        began, wall = self.ticks(), time.perf_counter()
        yield
        self.whole.append(self.ticks() - began)
        self.wall += time.perf_counter() - wall

    @contextmanager
    def optimiser(self) -> Generator[None]:
        """The optimiser's part of it, which a plain step has too."""
        began = self.ticks()
        yield
        self.ends.append(self.ticks() - began)

    @property
    def seconds(self) -> float:
        """Of all steps, and of what was done before them."""
        return self.before + self.wall

    @property
    def cost(self) -> float:
        """A step with its share of what was done before, over a plain one; medians of steps."""
        return (median(self.whole) + self.before / len(self.whole)) / (median(self.plain) + median(self.ends))
