"""Any target as a black box: the same model that shows less of itself."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from vauban.errors import NotGranted
from vauban.noise import RowNoise
from vauban.target.around import Around
from vauban.target.base import Surrogate, Target
from vauban.threat import Access


def restrict(target: Target, access: str | Access) -> Target:
    """The target with its access lowered to "none", "label" or "score"; itself where it shows no more than that already.

    Raises:
        NotGranted: the target shows less than that.
    """
    wanted = Access.parse(access)
    if wanted > target.access:
        raise NotGranted(
            f"{target.name} shows {target.access.name.lower()}s and cannot be made to show {wanted.name.lower()}s; restrict only takes away"
        )
    return target if wanted == target.access else Restricted(target, wanted)


class Restricted(Around):
    """A target that shows less than it could. Made by `restrict`.

    `labels` answers at every level, "none" too: the referee needs it, and what the attacker sees is the oracle's to withhold.
    """

    kind: ClassVar[str] = "restricted"

    def __init__(self, target: Target, access: Access) -> None:
        super().__init__(target)
        self.access = access

    @property
    def surrogate(self) -> Surrogate | None:
        """None below gradient access: a black box lends nobody its stand-in."""
        return self.target.surrogate if self.access >= Access.GRADIENT else None

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: restricted to {self.access.name.lower()} access, it shows no scores")
        return self.target.scores(x, draw)

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access < Access.GRADIENT:
            raise NotGranted(f"{self.name}: restricted to {self.access.name.lower()} access, it shows no gradient; give a surrogate")
        return self.target.smooth(x, draw)

    def prepare(self, x: Tensor) -> None:
        super().prepare(x)
        if self.classes is None and self.target.access >= Access.SCORE and not self.refuses:
            self.classes = self.target.scores(x[:1]).shape[1]
