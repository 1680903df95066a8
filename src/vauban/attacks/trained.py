"""A surrogate that is trained when it is first needed, so that nobody is asked anything while a campaign is only being prepared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

from torch import Tensor

from vauban.attacks.substitute import Substitute
from vauban.noise import RowNoise
from vauban.target import Surrogate, Torch
from vauban.threat import Access


class Trained(Surrogate):
    """A model of the attacker's own that does not exist yet.

    It is trained once, when it is made `ready`, first held or asked. What it is trained with tells it from others.

    Args:
        train: trains it.
        x, y: the attacker's own inputs (n, *shape) and their classes (n,), int64.
        settings: how it is trained, in words or JSON.
        most: the most questions that the target is asked for it.
        network: what is trained, as it is before; None for a default one.
    """

    access = Access.NONE

    def __init__(
        self, train: Callable[[], Substitute], x: Tensor, y: Tensor, settings: str, most: int, network: Torch | None = None
    ) -> None:
        self.x, self.y, self.settings, self.most, self.network = x, y, settings, most, network
        self._trained = cache(train)

    def ready(self) -> None:
        self.asked = self._trained().asked

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self._trained().surrogate.smooth(x, draw)

    def held(self) -> AbstractContextManager[None]:
        return self._trained().surrogate.held()
