"""How a row is written on the wire, and what is left of an input after it: rounding to 8 bits, JPEG, decimals."""

from __future__ import annotations

import base64
import io
import json
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vauban.errors import BadPlan, BadTarget
from vauban.target.http.settings import Request

Array = np.ndarray[Any, Any]
SETTLES, KEPT = 16, 4096
"""Round trips after which a JPEG is taken as it is, and how many of those are remembered."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One row as it is sent: its bytes, what stands for it in JSON, and what kind of file it is."""

    data: bytes
    value: Any
    suffix: str = "json"
    mime: str = "application/json"


class Wire(ABC):
    """A way to write rows.

    Rounding is idempotent: what was rounded once is sent as it is.
    """

    @abstractmethod
    def rounded(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        """Inputs (n, *shape) as the other side reads them, of the same dtype.

        Args:
            clean: of the same shape; where there is a choice, values are rounded toward it, so that no change grows by being sent.
        """

    @abstractmethod
    def packed(self, row: Array) -> Packed:
        """A row (*shape) on its way."""


def wire_of(request: Request) -> Wire:
    """The way that a request says."""
    if request.encode == "table":
        return Table(request)
    if request.encode in ("png", "jpeg"):
        return Picture(request)
    return Numbers(request)


def on_grid(x: Tensor, clean: Tensor | None, lo: float, step: float) -> Tensor:
    """The points lo + k step next to x, float64; with `clean`, never on the far side of x as seen from it.

    >>> on_grid(torch.tensor([0.0, 0.6, 1.4]), None, 0.0, 1.0).tolist(), on_grid(torch.tensor([2.6]), torch.tensor([1.0]), 0.0, 1.0).tolist()
    ([0.0, 1.0, 1.0], [2.0])
    """
    at = (x.double() - lo) / step
    near = at.round()
    if clean is not None:
        start = (clean.double() - lo) / step
        over = (near - start).abs() > (at - start).abs() + 1e-3  # the slack is for float32 inputs, which lie beside the grid
        near = torch.where(over & (near != start.round()), near - torch.sign(at - start), near)
    return near


class Numbers(Wire):
    """Nested lists or a NumPy file: all digits, a number of decimals, or 256 levels."""

    def __init__(self, request: Request) -> None:
        if isinstance(request.integers, tuple):
            raise BadPlan(f'integers names features, which goes with encode = "table"; with {request.encode!r} it is true or false')
        self.request = request
        self._span = request.hi - request.lo

    def rounded(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        asked = self.request
        if asked.integers:
            levels = on_grid(x, clean, asked.lo, self._span / 255).clamp(0, 255)
            return (levels * self._span / 255 + asked.lo).to(x.dtype)
        if asked.decimals is not None and asked.encode == "list":
            return (on_grid(x, clean, 0.0, 10.0**-asked.decimals) / 10.0**asked.decimals).to(x.dtype)
        return x

    def packed(self, row: Array) -> Packed:
        values = self._values(row)
        if self.request.channels_last and values.ndim == 3:
            values = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        if self.request.encode == "npy":
            data = _npy(values)
            return Packed(data, base64.b64encode(data).decode(), "npy", "application/octet-stream")
        plain = values.tolist()
        return Packed(json.dumps(plain).encode(), plain)

    def _values(self, row: Array) -> Array:
        asked = self.request
        if asked.integers:
            return levels_of(row, asked.lo, self._span)
        if asked.decimals is not None and asked.encode == "list":
            return np.round(row.astype(np.float64), asked.decimals)
        return row


class Table(Wire):
    """An object of named features; some have no fractions."""

    def __init__(self, request: Request) -> None:
        self.names, self.decimals = request.features, request.decimals
        whole = request.integers if isinstance(request.integers, tuple) else self.names if request.integers else ()
        unknown = [n for n in whole if n not in self.names]
        if unknown:
            raise BadPlan(f"integers names {unknown[0]!r}, which is no feature")
        self._whole = torch.tensor([n in whole for n in self.names])

    def rounded(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        self._check(tuple(x.shape[1:]))
        ones = on_grid(x, clean, 0.0, 1.0).to(x.dtype)
        fine = x
        if self.decimals is not None:
            fine = (on_grid(x, clean, 0.0, 10.0**-self.decimals) / 10.0**self.decimals).to(x.dtype)
        return torch.where(self._whole.to(x.device), ones, fine)

    def packed(self, row: Array) -> Packed:
        self._check(row.shape)
        plain = [self._number(v, whole) for v, whole in zip(row.tolist(), self._whole.tolist(), strict=True)]
        value = dict(zip(self.names, plain, strict=True))
        return Packed(json.dumps(value).encode(), value)

    def _number(self, value: float, whole: bool) -> float | int:
        return round(value) if whole else value if self.decimals is None else round(value, self.decimals)

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape != (len(self.names),):
            raise BadTarget(f'encode = "table": {len(self.names)} features are named, and the rows have shape {shape}')


class Picture(Wire):
    """PNG or JPEG of (channels, height, width) or (height, width), one or three channels of 8 bits.

    A JPEG is written again until it reads as it was written, so that an example that was kept can be sent again; what does not settle is
    remembered with the bytes that it was read from.
    """

    def __init__(self, request: Request) -> None:
        if request.integers or request.decimals is not None:
            raise BadPlan(f"encode = {request.encode!r} has 8 bits as it is; it goes with neither integers nor decimals")
        self.request, self.lossy = request, request.encode == "jpeg"
        self._span = request.hi - request.lo
        self._unsettled: OrderedDict[bytes, bytes] = OrderedDict()

    def rounded(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        levels = on_grid(x, clean, self.request.lo, self._span / 255).clamp(0, 255)
        if self.lossy:
            rows = [self._settled(row)[0] for row in levels.to("cpu", torch.uint8).numpy()]
            levels = torch.from_numpy(np.stack(rows)).to(x.device, torch.float64) if rows else levels
        return (levels * self._span / 255 + self.request.lo).to(x.dtype)

    def packed(self, row: Array) -> Packed:
        levels = levels_of(row, self.request.lo, self._span)
        data = self._settled(levels)[1] if self.lossy else self._written(levels)
        return Packed(data, base64.b64encode(data).decode(), self.request.encode, f"image/{self.request.encode}")

    def _settled(self, levels: Array) -> tuple[Array, bytes]:
        """A picture that is read as it is written, and its file."""
        known = self._unsettled.get(levels.tobytes())
        if known is not None:
            return levels, known
        data = self._written(levels)
        for _ in range(SETTLES):
            read = _read(data, levels.shape)
            if np.array_equal(read, levels):
                return levels, data
            levels, before = read, data
            data = self._written(levels)
            if data == before:
                return levels, data
        read = _read(data, levels.shape)
        self._unsettled[read.tobytes()] = data
        if len(self._unsettled) > KEPT:
            self._unsettled.popitem(last=False)
        return read, data

    def _written(self, levels: Array) -> bytes:
        from PIL import Image

        if levels.ndim not in (2, 3) or (levels.ndim == 3 and levels.shape[0] not in (1, 3)):
            raise BadTarget(
                f'encode = "{self.request.encode}" needs pictures of one or three channels, and the rows have shape {levels.shape}'
            )
        picture = Image.fromarray(levels if levels.ndim == 2 else levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, -1))
        into = io.BytesIO()
        if self.lossy:
            picture.save(into, "JPEG", quality=self.request.quality, subsampling=0)
        else:
            picture.save(into, "PNG")
        return into.getvalue()


def levels_of(row: Array, lo: float, span: float) -> Array:
    """A row in 256 levels, uint8."""
    return cast("Array", ((row.astype(np.float64) - lo) * (255 / span)).round().clip(0, 255).astype(np.uint8))


def _read(data: bytes, shape: tuple[int, ...]) -> Array:
    from PIL import Image

    found = np.asarray(Image.open(io.BytesIO(data)))
    return np.ascontiguousarray(np.moveaxis(found, -1, 0) if len(shape) == 3 and shape[0] == 3 else found.reshape(shape))


def _npy(values: Array) -> bytes:
    into = io.BytesIO()
    np.save(into, values, allow_pickle=False)
    return into.getvalue()
