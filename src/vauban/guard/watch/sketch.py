"""A keyed sketch of an image's exact texture: two images that differ by little noise share most of it, two captures share none.

The construction is that of Blacklight (Li et al. 2022, USENIX Security, section 4): levels are coarsened, every window of them is hashed, the
smallest hashes are kept. Here the hash is multilinear over 64-bit words with secret odd multipliers, for all windows at once, instead of SHA-256
for each; a secret offset at every place decides where levels are cut. Windows without texture are left out: a black border is no likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import shake_256

import numpy as np
import numpy.typing as npt

WINDOW = 20
"""Values in a window: 16 + 4."""
STEP = 50
"""Levels that are one; 256 / 50 fit in three bits."""
KEPT = 50
"""Hashes that are kept: the smallest."""
TEXTURE = 3.0
"""Mean difference of neighbouring levels below which a window has no texture."""
LEAST = 10
"""A sketch of fewer hashes is like nothing: there was too little texture."""
Pixels = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sketcher:
    """Makes the sketches of images of one size.

    Args:
        key: the secret.
        shape: (height, width) of the images.
    """

    key: bytes = field(repr=False)
    shape: tuple[int, int]
    cuts: npt.NDArray[np.uint16] = field(init=False, repr=False)
    odd: npt.NDArray[np.uint64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = 3 * self.shape[0] * self.shape[1]
        label = f"sketch {self.shape[0]}x{self.shape[1]}".encode()
        stream = np.frombuffer(shake_256(self.key + label).digest(4 * size + 32), np.uint8)
        cuts = np.ascontiguousarray(stream[32:]).view(np.uint32) % STEP
        object.__setattr__(self, "cuts", cuts.astype(np.uint16))
        object.__setattr__(self, "odd", np.ascontiguousarray(stream[:32]).view(np.uint64) | np.uint64(1))

    def sketch(self, pixels: Pixels) -> Hashes:
        """The smallest hashes of the windows of an image, ascending, at most 50 and none twice.

        Args:
            pixels: uint8 (height, width, 3).

        Returns:
            int64 (k,), each >= 0.
        """
        levels = pixels.reshape(-1)
        hashes = self._hashes((levels + self.cuts) // np.uint16(STEP))
        differ = np.maximum(levels[3:], levels[:-3]) - np.minimum(levels[3:], levels[:-3])
        few = np.flatnonzero(hashes < np.uint64(min(1.0, 4 * KEPT / hashes.size) * (2**63 - 1024)))
        kept = np.unique(hashes[few[_textured(differ, few)]])[:KEPT]
        if kept.size < KEPT:
            kept = np.unique(hashes[_textured(differ)])[:KEPT]
        return kept.view(np.int64)

    def _hashes(self, coarse: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint64]:
        """One hash below 2^63 for each window: 20 values of three bits are one word of 48 bits and one of 12."""
        two = coarse[:-1] | (coarse[1:] << np.uint16(3))
        four = two[:-2] | (two[2:] << np.uint16(6))
        eight = four.astype(np.uint32)
        eight = eight[:-4] | (eight[4:] << np.uint32(12))
        sixteen = eight.astype(np.uint64)
        sixteen = sixteen[:-8] | (sixteen[8:] << np.uint64(24))
        a, b, c, d = self.odd
        mixed = sixteen[: four.size - 16] * a
        mixed += four[16:] * b + d
        mixed ^= mixed >> np.uint64(32)
        mixed *= c
        mixed >>= np.uint64(1)
        return mixed


def _textured(differ: npt.NDArray[np.uint8], few: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.bool_]:
    """Which windows, of all or of a few by their places, have neighbouring pixels that differ, by how much each value does from the next pixel's."""
    inner = WINDOW - 3
    if few is not None:
        return np.lib.stride_tricks.sliding_window_view(differ, inner)[few].sum(1, dtype=np.int32) >= TEXTURE * inner
    total = np.concatenate([np.zeros(1, np.int32), np.cumsum(differ, dtype=np.int32)])
    return total[inner:] - total[:-inner] >= TEXTURE * inner


def likeness(one: Hashes, others: Sequence[Hashes]) -> npt.NDArray[np.float64]:
    """What a sketch shares with others, of the shorter of the two: 1 for the same image; 0 if one of them has too little texture to tell.

    Returns:
        float64 (k,).
    """
    sizes = np.array([other.size for other in others], np.int64)
    if one.size < LEAST or not sizes.any():
        return np.zeros(len(others))
    flat = np.concatenate(others)
    place = np.minimum(np.searchsorted(one, flat), one.size - 1)
    total = np.concatenate([[0], np.cumsum(one[place] == flat)])
    ends = np.cumsum(sizes)
    shared = total[ends] - total[ends - sizes]
    return np.where(sizes >= LEAST, shared / np.maximum(np.minimum(sizes, one.size), 1), 0.0)
