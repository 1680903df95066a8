"""How the numbers of an input lie: images to (channels, height, width) in [0, 1], the rest as it is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vauban.data.raw import Array
from vauban.data.rows import Kind
from vauban.errors import BadData, nearest

Layout = Literal["chw", "hwc", "hw", "vector", "series"]
RANKS: dict[str, int | None] = {"chw": 4, "hwc": 4, "hw": 3, "vector": 2, "series": None}
CHANNELS = (1, 3, 4)


def layout_of(x: Array, said: str, who: str) -> Layout:
    """The layout said, checked against the array (n, ...); for "auto", recognised from its shape.

    Raises:
        BadData: an unknown layout, a shape that does not fit it, or one that could be two things.
    """
    if said != "auto":
        if said not in RANKS:
            raise BadData(f"{who}: layout = {said!r} is not a layout; {nearest(said, [*RANKS, 'auto'])}")
        rank = RANKS[said]
        if (rank is not None and x.ndim != rank) or x.ndim < 2:
            raise BadData(f"{who}: layout = {said!r} does not fit inputs of shape {x.shape}")
        return said  # pyright: ignore[reportReturnType]  # one of the keys
    if x.ndim == 2:
        return "vector"
    if x.ndim == 3:
        return "hw" if x.dtype == np.uint8 or x.shape[1] == x.shape[2] else "series"
    if x.ndim == 4:
        return _order(x, who)
    raise BadData(
        f"{who}: inputs of shape {x.shape}; Vauban reads vectors (n, features), series (n, channels, steps) and images, or say layout"
    )


def _order(x: Array, who: str) -> Layout:
    first, last = x.shape[1] in CHANNELS, x.shape[3] in CHANNELS
    if first and last:
        raise BadData(f'{who}: images of shape {x.shape[1:]} may be channels-first or channels-last; say layout = "chw" or "hwc"')
    return "hwc" if last else "chw"


def arranged(x: Array, layout: Layout, *, scale: bool) -> tuple[Tensor, Kind]:
    """float32 inputs, images as (n, channels, height, width), 8-bit values divided by 255 where `scale` says so; and their kind."""
    values = torch.from_numpy(np.ascontiguousarray(x)).to(torch.float32)
    if scale:
        values = values / 255
    if layout == "hwc":
        return values.permute(0, 3, 1, 2).contiguous(), "image"
    if layout == "hw":
        return values[:, None], "image"
    return values, "image" if layout == "chw" else layout
