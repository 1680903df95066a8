"""What the attacker may do to an input: an Lp ball inside a box, a patch, transformations, changes to the features of a table, or edits of a text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import SupportsIndex, cast

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
        pixels: for L0, whether eps counts pixels (all channels of one place in an image) instead of features.

    Raises:
        BadPlan: eps is not positive or larger than the input range, the box is empty, the norm is unknown, or pixels are counted in another norm.

    >>> Ball("8/255").text(), Ball(10, "l0", pixels=True).text()
    ('Linf within 8/255', 'L0 within 10 pixels')
    """

    eps: float = INF
    norm: float = INF
    lo: Bound = 0.0
    hi: Bound = 1.0
    mask: tuple[bool, ...] | None = None
    pixels: bool = False

    def __init__(
        self,
        eps: Number = INF,
        norm: float | str = INF,
        lo: object = 0.0,
        hi: object = 1.0,
        mask: Iterable[bool] | None = None,
        pixels: bool = False,
    ) -> None:
        set_ = object.__setattr__
        set_(self, "eps", exact(eps, "eps"))
        set_(self, "norm", norm_of(norm))
        set_(self, "lo", _flat(lo, "lo"))
        set_(self, "hi", _flat(hi, "hi"))
        set_(self, "mask", _marks(mask))
        set_(self, "pixels", bool(pixels))
        self._check()

    def _check(self) -> None:
        lows, highs = _many(self.lo), _many(self.hi)
        width = _widths(lows, highs)
        if self.pixels and self.norm != 0:
            raise BadPlan(f'pixels are counted in L0, and the norm is {self.kind}; say norm = "l0", or leave pixels out')
        if not self.eps > 0:
            raise BadPlan(f'eps = {written(self.eps)} must be positive, such as "8/255"')
        if self.norm == INF and INF > self.eps > max(width):
            hint = f'; did you mean "{self.eps:g}/255"?' if max(width) == 1 and 1 < self.eps <= 255 else ""
            raise BadPlan(f"eps = {written(self.eps)} is larger than the input range [{min(lows):g}, {max(highs):g}]{hint}")
        if self.norm == 0 and self.eps < 1:
            what = "pixel" if self.pixels else "feature"
            raise BadPlan(f"eps = {written(self.eps)} changes no {what}: an L0 radius counts {what}s and must be at least 1")

    @property
    def kind(self) -> str:
        """Its name among perturbations: "linf", "l2", "l1", "l0", or "pixels" where L0 counts those."""
        return "pixels" if self.pixels and self.norm == 0 else next(name for name, p in NORMS.items() if p == self.norm)

    def text(self) -> str:
        name = "L0" if self.norm == 0 else self.kind.replace("l", "L")
        if self.eps == INF:
            return f"{name} at any size{', in pixels' if self.pixels else ''}"
        return f"{name} within {written(self.eps)}{_pixels(self.eps) if self.pixels else ''}"


@dataclass(frozen=True, slots=True)
class Patch:
    """Any change inside one rectangular window of an image, placed anywhere (Brown et al. 2017, arXiv:1712.09665).

    An input is (channels, height, width). The attacker chooses the place, and every value of every channel within the box.

    Attributes:
        size: (height, width) of the window, in pixels; one number for a square.
        lo, hi: the box: scalars, or one value for each feature of an input in C order (lists and arrays are accepted).
        mask: one truth value a feature, in C order: which features may change; None means all. The window may lie anywhere.

    Raises:
        BadPlan: a side is no whole number of pixels, or none, or the box is empty.

    >>> Patch(5).text(), Patch((3, 8)).size
    ('patch of 5 x 5 pixels anywhere', (3, 8))
    """

    size: tuple[int, int]
    lo: Bound = 0.0
    hi: Bound = 1.0
    mask: tuple[bool, ...] | None = None

    def __init__(self, size: int | Iterable[int], lo: object = 0.0, hi: object = 1.0, mask: Iterable[bool] | None = None) -> None:
        set_ = object.__setattr__
        set_(self, "size", _sides(size))
        set_(self, "lo", _flat(lo, "lo"))
        set_(self, "hi", _flat(hi, "hi"))
        set_(self, "mask", _marks(mask))
        _widths(_many(self.lo), _many(self.hi))

    @property
    def kind(self) -> str:
        """Its name among perturbations: "patch"."""
        return "patch"

    @property
    def eps(self) -> float:
        """Its longer side in pixels: what the size of a change is measured against."""
        return float(max(self.size))

    def text(self) -> str:
        return f"patch of {self.size[0]} x {self.size[1]} pixels anywhere"


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


Perturbation = Ball | Patch | Transformations | Features | Edits


def _many(bound: Bound) -> tuple[float, ...]:
    return bound if isinstance(bound, tuple) else (bound,)


def _widths(lows: tuple[float, ...], highs: tuple[float, ...]) -> list[float]:
    """The range of each feature; raises `BadPlan` where there is none."""
    if len(lows) > 1 and len(highs) > 1 and len(lows) != len(highs):
        raise BadPlan(f"bounds: lo has {len(lows)} values and hi has {len(highs)}; give one for each feature, or a single number")
    if not all(map(math.isfinite, (*lows, *highs))):
        raise BadPlan(f"bounds: the box [{min(lows):g}, {max(highs):g}] has no end; give the range that inputs really have")
    count = max(len(lows), len(highs))
    width = [h - low for low, h in zip(lows * (count // len(lows)), highs * (count // len(highs)), strict=True)]
    if min(width) < 0 or max(width) <= 0:
        raise BadPlan(f"bounds: the box [{min(lows):g}, {max(highs):g}] is empty; lo must be below hi")
    return width


def _marks(mask: Iterable[bool] | None) -> tuple[bool, ...] | None:
    """A mask in C order, from lists or arrays."""
    ravel = getattr(mask, "ravel", None)
    flat = cast("Iterable[bool] | None", ravel() if callable(ravel) else mask)
    if flat is None:
        return None
    marks = tuple(bool(m) for m in flat)
    if not any(marks):
        raise BadPlan("mask: no feature may change; mark at least one as true")
    return marks


def _sides(size: int | Iterable[int]) -> tuple[int, int]:
    """Height and width of a window from one number or two."""
    said = cast("object", size)  # as a person may have written it
    given = list(cast("Iterable[object]", said)) if isinstance(said, Iterable) and not isinstance(said, str) else [said, said]
    whole = [index(s) for s in given if isinstance(s, SupportsIndex) and not isinstance(s, bool)]
    if len(given) != 2 or len(whole) != 2 or min(whole) < 1:
        raise BadPlan(f"patch = {said!r} must be the side of a square in pixels, a whole number of 1 or more, or [height, width]")
    return whole[0], whole[1]


def _pixels(count: float) -> str:
    return " pixel" if count == 1 else " pixels"
