"""Where a patch may lie in an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.attacks.parts.windows import Frame
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.geometry.patch import sums_of_windows
from vauban.threat import Patch


@dataclass(frozen=True)
class Places:
    """The places of a patch, numbered in reading order by its upper left corner: inside the image, or inside the part that a mask leaves.

    Attributes:
        frame: that part.
        height, width: of the patch, in pixels; no more than the frame has.
    """

    frame: Frame
    height: int
    width: int

    @classmethod
    def of(cls, o: Oracle) -> Places:
        """The places that an oracle's threat leaves; raises `BadPlan` where it allows no patch."""
        allowed = o.threat.perturbation
        if not isinstance(allowed, Patch):
            raise BadPlan(f"threat {o.threat.name!r} allows {allowed.kind}; give a Patch")
        frame = Frame.of(o)
        return cls(frame, min(allowed.size[0], frame.height), min(allowed.size[1], frame.width))

    @property
    def down(self) -> int:
        """How many places there are below each other."""
        return self.frame.height + 1 - self.height

    @property
    def across(self) -> int:
        """How many there are beside each other."""
        return self.frame.width + 1 - self.width

    @property
    def count(self) -> int:
        return self.down * self.across

    def anywhere(self, o: Oracle) -> Tensor:
        """A random place for each row, int64 (n,)."""
        return o.noise.integers(self.count)

    def shifted(self, place: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Places (n,) moved by so many pixels (n,), as far as they go; to the next place where they would not move."""
        top = (place // self.across + down).clamp(0, self.down - 1)
        left = (place % self.across + across).clamp(0, self.across - 1)
        there = top * self.across + left
        return torch.where(there == place, (place + 1) % self.count, there)

    def features(self, place: Tensor) -> Tensor:
        """Where the features of the patch lie in the flattened inputs when it is at places (n,), int64 (n, channels * height * width)."""
        top, left = place // self.across + self.frame.top, place % self.across + self.frame.left
        channels, _, wide = self.frame.shape
        grid = torch.arange(channels * self.frame.shape[1] * wide, device=place.device).view(self.frame.shape)
        return (top * wide + left)[:, None] + grid[:, : self.height, : self.width].flatten()

    def best(self, worth: Tensor) -> Tensor:
        """The place that is worth most, int64 (n,), for what each pixel (n, height, width) of the image is worth."""
        f = self.frame
        part = worth.double()[:, f.top : f.top + f.height, f.left : f.left + f.width]
        return sums_of_windows(part, self.height, self.width).flatten(1).argmax(1)

    def shown(self, o: Oracle, place: Tensor, share: Tensor) -> Tensor:
        """The clean inputs with the patch at places (n,), (n, *shape): each of its features, `share` (n, features), is that share of its range."""
        at = self.features(place)
        lower, upper = (limit.flatten(1).gather(1, at) for limit in o.limits)
        painted = torch.lerp(lower, upper, share.to(lower)).clamp(lower, upper)
        return o.x.flatten(1).scatter(1, at, painted).view_as(o.x)
