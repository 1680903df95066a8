"""How strange an input looks: what every detector is, and what it is shown of one pass of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vauban.noise import RowNoise
from vauban.target import Surrogate


@dataclass(frozen=True, eq=False)
class Seen:
    """One pass of a model.

    Attributes:
        x: inputs (n, *shape).
        z: class scores (n, classes).
        model: what gave them, for detectors that ask about other inputs too; the real one, or what gradients are taken from.
        draw: the rows' noise, for what is random.
        inside: what was caught on the way, for detectors that look inside: features float (n, d), or members' scores (k, n, classes); None
            for the others.
    """

    x: Tensor
    z: Tensor
    model: Surrogate
    draw: RowNoise | None = None
    inside: Tensor | None = None


class Detector(ABC):
    """How strange inputs look, higher meaning stranger.

    Attributes:
        scale: how far apart scores of clean inputs lie, so that they can be weighed against those of classes.
        passes: forward passes of the model that one look costs.
        randomised: whether it draws noise of its own, from the rows' streams.
    """

    scale: float = 1.0
    passes: int = 1
    randomised: bool = False

    def look(self, model: Surrogate, x: Tensor, draw: RowNoise | None) -> Seen:
        """Ask the model about inputs (n, *shape), and keep what the detector needs of the pass."""
        return Seen(x, model.smooth(x, draw), model, draw)

    @abstractmethod
    def strangeness(self, seen: Seen) -> Tensor:
        """Strangeness (n,). Its value is what the verdict is about; its gradient is one that an attacker can follow.

        Where the value has none, or a poor one, `following` gives it that of a smooth stand-in.
        """

    def tensors(self) -> Sequence[Tensor]:
        """What was fitted, for the fingerprint."""
        return ()

    def told(self) -> str:
        """Its plain settings, for the fingerprint."""
        plain = {k: v for k, v in sorted(vars(self).items()) if isinstance(v, (bool, int, float, str))}
        return f"{type(self).__name__} {plain}"


def following(value: Tensor, soft: Tensor) -> Tensor:
    """The value, exactly, with the gradient of a stand-in of the same shape (BPDA; Athalye et al. 2018, arXiv:1802.00420)."""
    return value.detach() + (soft - soft.detach())
