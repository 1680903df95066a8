"""What rows must be to be judged: each check says which row and which feature, and the mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vauban.data.layout import Layout
from vauban.data.raw import Array, Raw
from vauban.data.rows import Bound
from vauban.errors import BadData

PIXELS: tuple[Layout, ...] = ("chw", "hwc", "hw")


def check_lengths(raw: Raw) -> None:
    """There are rows, each with a label, a group where groups are, and a distinct id."""
    who, n = raw.name, len(raw.x)
    if n == 0 or len(np.atleast_1d(raw.y)) == 0:
        raise BadData(f"{who}: no rows; there is nothing to attack")
    if raw.y.ndim and n != len(raw.y):
        raise BadData(f"{who}: {n} inputs and {len(raw.y)} labels; each input needs one label")
    if raw.groups is not None and n != len(raw.groups):
        raise BadData(f"{who}: {n} inputs and {len(raw.groups)} groups; each input needs one group")
    if raw.ids is not None and (n != len(raw.ids) or len(np.unique(raw.ids)) != n):
        raise BadData(f"{who}: {n} inputs and {len(np.unique(raw.ids))} different ids; each input needs one of its own")


def check_numbers(x: Array, ids: Array, raw: Raw) -> None:
    """Inputs (n, ...) are finite numbers, one row a row."""
    if x.dtype.kind not in "biuf":
        raise BadData(f"{raw.name}: inputs of type {x.dtype}; give numbers")
    if x.ndim < 2 or x[0].size == 0:
        raise BadData(f"{raw.name}: inputs of shape {x.shape}; each row needs at least one feature, shape (n, features) or more")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        where = tuple(np.argwhere(~np.isfinite(x))[0].tolist())
        raise BadData(f"{raw.name}: row {ids[where[0]]}, {_feature(where[1:], raw)} is {x[where]}; inputs must be finite")


def bounds_of(
    x: Array, layout: Layout, raw: Raw, lo: float | Sequence[float] | None, hi: float | Sequence[float] | None
) -> tuple[Bound, Bound, bool]:
    """The range of the inputs, as declared or recognised, and whether 8-bit images are to be scaled to it.

    Raises:
        BadData: only one bound, an empty range, or none declared where it cannot be told.
    """
    if (lo is None) != (hi is None):
        raise BadData(f"{raw.name}: only one of lo and hi is given; say both, bounds = [lo, hi]")
    eight_bit = x.dtype == np.uint8 and layout in PIXELS
    if lo is None or hi is None:
        return (0.0, 1.0, True) if eight_bit else _recognised(x, raw)
    low, high = _bound(lo, "lo", x, raw), _bound(hi, "hi", x, raw)
    if not bool((np.subtract(high, low) >= 0).all()) or not bool((np.subtract(high, low) > 0).any()):
        raise BadData(f"{raw.name}: bounds = [{_brief(low)}, {_brief(high)}] is empty; lo must be below hi")
    if eight_bit and (low, high) not in ((0.0, 1.0), (0.0, 255.0)):
        raise BadData(
            f"{raw.name}: bounds = [{_brief(low)}, {_brief(high)}] for 8-bit images; say [0, 1] to scale them, or [0, 255] to leave them"
        )
    return low, high, eight_bit and high == 1.0


def _bound(value: float | Sequence[float], what: str, x: Array, raw: Raw) -> Bound:
    flat = np.asarray(value, dtype=np.float64).ravel()
    if flat.size not in (1, x[0].size) or not np.isfinite(flat).all():
        raise BadData(
            f"{raw.name}: {what} has {flat.size} values for {x[0].size} features; give one finite number, or one for each feature"
        )
    return float(flat[0]) if flat.size == 1 else tuple(flat.tolist())


def _brief(bound: Bound) -> str:
    return f"{min(bound):g}..{max(bound):g}" if isinstance(bound, tuple) else f"{bound:g}"


def _recognised(x: Array, raw: Raw) -> tuple[Bound, Bound, bool]:
    least, most = float(x.min()), float(x.max())
    if not raw.table and least >= 0 and most <= 1:
        return 0.0, 1.0, False
    raise BadData(
        f"{raw.name}: the inputs range from {least:g} to {most:g}, and what range is allowed is not said; "
        "say bounds = [lo, hi], the range that inputs to the model can have"
    )


def check_inside(x: Tensor, lo: Bound, hi: Bound, ids: Array, raw: Raw) -> None:
    """float32 inputs (n, *shape) lie in [lo, hi], compared in float32."""
    low, high = (torch.tensor(b, dtype=torch.float32).expand(x[0].numel()).view(x.shape[1:]) for b in (lo, hi))
    outside = ~((x >= low) & (x <= high))
    if bool(outside.any()):
        where = tuple(outside.nonzero()[0].tolist())
        span = f"[{low[where[1:]]:g}, {high[where[1:]]:g}]"
        raise BadData(
            f"{raw.name}: row {ids[where[0]]}, {_feature(where[1:], raw)} is {x[where]:g}, outside {span}; "
            "mend the row, or say wider bounds = [lo, hi]"
        )


def check_classes(y: Tensor, names: tuple[str, ...], who: str) -> None:
    """Every class that somebody named has a row."""
    count = Counter(y.tolist())
    empty = [name for i, name in enumerate(names) if not count[i]]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        raise BadData(f"{who}: no row of class {', '.join(map(repr, empty[:3]))}{more}; add some, or leave the class out of classes")


def note_of_sample(all_y: Tensor, y: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
    """What the reader must know when a sample of rows misses classes that the data have."""
    before, after = Counter(all_y.tolist()), Counter(y.tolist())
    missed = [f"{names[i]!r} ({before[i]} of {len(all_y)} rows)" for i in sorted(before) if not after[i]]
    if not missed:
        return ()
    return (f"the sample of {len(y)} rows has none of class {', '.join(missed)}; take more rows to speak of it",)


def _feature(place: tuple[int, ...], raw: Raw) -> str:
    if len(place) == 1 and place[0] < len(raw.features):
        return f"column {raw.features[place[0]]!r}"
    return f"feature {place[0] if len(place) == 1 else place}"
