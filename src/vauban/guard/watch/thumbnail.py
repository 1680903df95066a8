"""A keyed thumbnail that stays alike under noise, brightness and small shifts: 8 by 8 cells of three colours, of which only directions matter.

The vector of cell means, without the mean of each colour, is turned by a secret rotation, which keeps all angles, and stored as 192 signed bytes.
Two images are near if the angle between them is small in one of ten probes: nine shifts by half a cell and the mirror image. The signs of the
turned vector are random hyperplanes (Charikar 2002, STOC, section 3): near vectors share one of eight groups of them, by which they are found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import shake_256

import numpy as np
import numpy.typing as npt

CELLS = 8
SIZE = 3 * CELLS * CELLS
BANDS = 8
FLAT = 4.0
"""Root mean square of the cells' levels, without the mean, below which an image has no thumbnail."""
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Thumb = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Thumbnailer:
    """Makes the thumbnails of images of one size.

    Args:
        key: the secret.
        shape: (height, width) of the images.
        centre: float32 (192,), turned: what is common to all images of a place, such as a face in the middle; it is taken off. None for nothing.
    """

    key: bytes = field(repr=False)
    shape: tuple[int, int]
    centre: Floats | None = field(default=None, repr=False)

    @cached_property
    def rotation(self) -> Floats:
        """The secret rotation, float32 (192, 192)."""
        seed = np.frombuffer(shake_256(self.key + b"thumbnail").digest(32), np.uint64)
        normal = np.random.Generator(np.random.Philox(np.random.SeedSequence([int(s) for s in seed]))).standard_normal((SIZE, SIZE))
        q, r = np.linalg.qr(normal)
        return np.ascontiguousarray(q * np.sign(np.diag(r)), dtype=np.float32)

    @cached_property
    def pools(self) -> tuple[Floats, Floats]:
        """What averages rows and columns into cells that start half a cell early, on time and half a cell late."""
        return _pool(self.shape[0]), _pool(self.shape[1])

    def probes(self, pixels: Pixels) -> Floats:
        """Ten turned unit vectors: the image, eight shifts of it by half a cell, its mirror image; zeros where there is nothing to see.

        Args:
            pixels: uint8 (height, width, 3).

        Returns:
            float32 (10, 192); the first is the image itself.
        """
        rows, columns = self.pools
        height, width = self.shape
        banded: Floats = np.matmul(rows, pixels.reshape(height, -1).astype(np.float32))
        cells: Floats = np.matmul(columns, banded.reshape(len(rows), width, 3))
        shifted = cells.reshape(3, CELLS, 3, CELLS, 3).transpose(0, 2, 1, 3, 4).reshape(9, CELLS, CELLS, 3)[ORDER]
        shifted[-1] = shifted[0, :, ::-1]
        flat: Floats = shifted.reshape(len(ORDER), CELLS * CELLS, 3)
        flat -= MEAN @ flat
        return self.turned(flat.reshape(len(ORDER), SIZE))

    def turned(self, cells: Floats) -> Floats:
        """Unit vectors, without the centre and turned; zeros for what is flat."""
        length = np.linalg.norm(cells, axis=1, keepdims=True)
        seen = length > FLAT * np.sqrt(SIZE)
        found = (cells / np.where(seen, length, 1)) @ self.rotation
        if self.centre is not None:
            found -= self.centre
            length = np.linalg.norm(found, axis=1, keepdims=True)
            found /= np.where(length > 0, length, 1)
        return np.where(seen, found, 0).astype(np.float32)


ORDER = [4, 0, 1, 2, 3, 5, 6, 7, 8, 4]
"""Of the nine shifts, by rows and then columns: first none, at last none for the mirror image."""
MEAN: Floats = np.full((1, CELLS * CELLS), 1 / CELLS**2, np.float32)
"""Of all cells, as a product: numpy's `mean` is slow along the middle of three axes."""


def stored(probes: Floats) -> Thumb:
    """Turned vectors as they are kept: int8 of the same shape."""
    largest = np.abs(probes).max(-1, keepdims=True)
    return np.rint(probes * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)


def bands(thumbs: Thumb) -> npt.NDArray[np.int64]:
    """What near thumbnails have one of in common: for each, eight negative numbers of 24 signs.

    Args:
        thumbs: int8 (k, 192).

    Returns:
        int64 (k, 8).
    """
    packed = np.packbits(thumbs > 0, axis=1).reshape(len(thumbs), BANDS, 3).astype(np.int64)
    word = (packed[:, :, 0] << 16) | (packed[:, :, 1] << 8) | packed[:, :, 2]
    return -1 - (word | (np.arange(BANDS, dtype=np.int64) << 24))


def nearest(probes: Floats, thumbs: Thumb) -> npt.NDArray[np.float32]:
    """One minus the largest cosine between any probe and each thumbnail: 0 for the same, 1 and more for what has nothing in common.

    Args:
        probes: float32 (p, 192) of length one or zero.
        thumbs: int8 (k, 192).

    Returns:
        float32 (k,).
    """
    kept = thumbs.astype(np.float32)
    length = np.linalg.norm(kept, axis=1)
    cosines = (kept @ probes.T).max(1) / np.where(length > 0, length, 1)
    return (1 - cosines).astype(np.float32)


def _pool(size: int) -> Floats:
    """What averages `size` values into cells, by the share of each value that lies in them: float32 (24, size), eight for each of three shifts.

    A cell is two halves; beyond the edge a half counts as that at the edge.
    """
    edges = np.linspace(0, size, 2 * CELLS + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    halves = np.clip(overlap, 0, None) / np.diff(edges)[:, None]
    edged = np.concatenate([halves[:1], halves, halves[-1:]])
    pairs = (edged[:-1] + edged[1:]) / 2
    return np.concatenate([pairs[shift : shift + 2 * CELLS : 2] for shift in range(3)]).astype(np.float32)
