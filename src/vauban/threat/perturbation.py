"""What the attacker may do to an input: an Lp ball inside a box, a set of transformations, changes to the features of a table, or edits of a text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from vauban.errors import BadPlan
from vauban.threat.edits import Edits
from vauban.threat.exact import exact, written
from vauban.threat.features import Features
from vauban.threat.norms import INF, NORMS, Number, norm_of

Bound = float | tuple[float, ...]


def _flat(values: object, what: str) -> Bound:
    """A scalar, or one value a feature in C order, from numbers, lists or arrays."""
    ravel = getattr(values, "ravel", None)
    if callable(ravel):
        values = cast("Iterable[float]", ravel())
    if isinstance(values, str | float | int | Fraction):
        return exact(values, what)
    numbers = tuple(exact(v, what) for v in cast("Iterable[float]", values))
    return numbers[0] if len(numbers) == 1 else numbers


@dataclass(frozen=True, slots=True)
class Ball:
    """The inputs within distance `eps` of the clean one, inside the box [lo, hi].

    Attributes:
        eps: the radius, in input units (features changed, for L0); a number or a fraction such as "8/255"; inf for no limit.
        norm: inf, 2, 1 or 0, or "linf", "l2", "l1", "l0".
        lo, hi: the box: scalars, or one value for each feature of an input in C order (lists and arrays are accepted).
        mask: one truth value a feature, in C order: which features may change; None means all.

    Raises:
        BadPlan: eps is not positive or larger than the input range, the box is empty, or the norm is unknown.

    >>> Ball("8/255").text()
    'Linf within 8/255'
    """

    eps: float = INF
    norm: float = INF
    lo: Bound = 0.0
    hi: Bound = 1.0
    mask: tuple[bool, ...] | None = None

    def __init__(
        self, eps: Number = INF, norm: float | str = INF, lo: object = 0.0, hi: object = 1.0, mask: Iterable[bool] | None = None
    ) -> None:
        set_ = object.__setattr__
        set_(self, "eps", exact(eps, "eps"))
        set_(self, "norm", norm_of(norm))
        set_(self, "lo", _flat(lo, "lo"))
        set_(self, "hi", _flat(hi, "hi"))
        ravel = getattr(mask, "ravel", None)
        flat = cast("Iterable[bool] | None", ravel() if callable(ravel) else mask)
        set_(self, "mask", None if flat is None else tuple(bool(m) for m in flat))
        self._check()

    def _check(self) -> None:
        lows, highs = _many(self.lo), _many(self.hi)
        if len(lows) > 1 and len(highs) > 1 and len(lows) != len(highs):
            raise BadPlan(f"bounds: lo has {len(lows)} values and hi has {len(highs)}; give one for each feature, or a single number")
        if not all(map(math.isfinite, (*lows, *highs))):
            raise BadPlan(f"bounds: the box [{min(lows):g}, {max(highs):g}] has no end; give the range that inputs really have")
        width = [
            h - low
            for low, h in zip(lows * (len(highs) if len(lows) == 1 else 1), highs * (len(lows) if len(highs) == 1 else 1), strict=True)
        ]
        if min(width) < 0 or max(width) <= 0:
            raise BadPlan(f"bounds: the box [{min(lows):g}, {max(highs):g}] is empty; lo must be below hi")
        if not self.eps > 0:
            raise BadPlan(f'eps = {written(self.eps)} must be positive, such as "8/255"')
        if self.norm == INF and INF > self.eps > max(width):
            hint = f'; did you mean "{self.eps:g}/255"?' if max(width) == 1 and 1 < self.eps <= 255 else ""
            raise BadPlan(f"eps = {written(self.eps)} is larger than the input range [{min(lows):g}, {max(highs):g}]{hint}")
        if self.norm == 0 and self.eps < 1:
            raise BadPlan(f"eps = {written(self.eps)} changes no feature: an L0 radius counts features and must be at least 1")
        if self.mask is not None and not any(self.mask):
            raise BadPlan("mask: no feature may change; mark at least one as true")

    @property
    def kind(self) -> str:
        """Its name among perturbations: "linf", "l2", "l1" or "l0"."""
        return next(name for name, p in NORMS.items() if p == self.norm)

    def text(self) -> str:
        name = self.kind.replace("l", "L")
        return f"{name} at any size" if self.eps == INF else f"{name} within {written(self.eps)}"


@dataclass(frozen=True, slots=True)
class Transformations:
    """Rotations and translations of an image (Engstrom et al. 2019, arXiv:1712.02779).

    An input is (channels, height, width). The attacker chooses an angle and a shift; bilinear interpolation, `lo` outside the frame.

    Attributes:
        rotation: the largest angle, in degrees, either way.
        translation: the largest shift, as a share of height and of width, either way.
        lo, hi: the box of the inputs, scalars.

    >>> Transformations(rotation=30, translation=0.1).text()
    'rotation within 30 degrees, translation within 10% of the frame'
    """

    rotation: float = 30.0
    translation: float = 0.1
    lo: float = 0.0
    hi: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise BadPlan(f"rotation = {self.rotation:g} degrees must lie in [0, 180]")
        if not 0 <= self.translation < 1:
            raise BadPlan(f"translation = {self.translation:g} must lie in [0, 1): it is a share of the frame")
        if self.rotation == 0 and self.translation == 0:
            raise BadPlan("transformations: rotation and translation are both 0; nothing may change")
        if not self.lo < self.hi:
            raise BadPlan(f"bounds: the box [{self.lo:g}, {self.hi:g}] is empty; lo must be below hi")

    @property
    def kind(self) -> str:
        """Its name among perturbations: "transformations"."""
        return "transformations"

    @property
    def eps(self) -> float:
        """Each parameter as a share of its limit: the whole set is the unit cube."""
        return 1.0

    def text(self) -> str:
        return f"rotation within {self.rotation:g} degrees, translation within {self.translation:.0%} of the frame"


Perturbation = Ball | Transformations | Features | Edits


def _many(bound: Bound) -> tuple[float, ...]:
    return bound if isinstance(bound, tuple) else (bound,)
