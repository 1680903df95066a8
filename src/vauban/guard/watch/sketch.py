"""A keyed sketch of an image's exact texture: two images that differ by little noise share most of it, two captures share none.

The construction is that of Blacklight (Li et al. 2022, USENIX Security, section 4): levels are coarsened, every window of them is hashed, the
smallest hashes are kept. Here the hash is multilinear with secret odd multipliers, for all windows at once, instead of SHA-256 for each: 32 bits by
which the smallest are found, and 31 more for those alone. A secret offset at every place decides where levels are cut. Windows without texture are
left out: a black border is no likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import shake_256

import numpy as np
import numpy.typing as npt

HALF = 10
WINDOW = 2 * HALF
"""Values in a window."""
STEP = 50
"""Levels that are one."""
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
    odd: npt.NDArray[np.uint32] = field(init=False, repr=False)
    more: npt.NDArray[np.uint64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = 3 * self.shape[0] * self.shape[1]
        label = f"sketch {self.shape[0]}x{self.shape[1]}".encode()
        stream = shake_256(self.key + label).digest(4 * size + 32)
        object.__setattr__(self, "cuts", (np.frombuffer(stream[32:], np.uint32) % STEP).astype(np.uint16))
        object.__setattr__(self, "odd", np.frombuffer(stream[:16], np.uint32) | np.uint32(1))
        object.__setattr__(self, "more", np.frombuffer(stream[16:32], np.uint64) | np.uint64(1))

    def sketch(self, pixels: Pixels) -> Hashes:
        """The smallest hashes of the windows of an image, ascending, at most 50 and none twice.

        Args:
            pixels: uint8 (height, width, 3).

        Returns:
            int64 (k,), each >= 0.
        """
        levels = pixels.reshape(-1)
        tens = _tens((levels + self.cuts) // np.uint16(STEP))
        first = self._first(tens)
        differ = np.maximum(levels[3:], levels[:-3]) - np.minimum(levels[3:], levels[:-3])
        few = np.flatnonzero(first < np.uint32(min(1.0, 4 * KEPT / first.size) * (2**32 - 1)))
        kept = self._smallest(first, tens, few[_textured(differ, few)])
        if kept.size < KEPT:
            kept = self._smallest(first, tens, np.flatnonzero(_textured(differ)))
        return kept

    def _first(self, tens: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """The upper half of the hash of every window."""
        a, b, c, d = self.odd
        mixed = tens[:-HALF] * a
        mixed += tens[HALF:] * b
        mixed += d
        mixed ^= mixed >> np.uint32(16)
        mixed *= c
        return mixed

    def _smallest(self, first: npt.NDArray[np.uint32], tens: npt.NDArray[np.uint32], few: npt.NDArray[np.int64]) -> Hashes:
        """The smallest hashes, below 2^63, of the windows at a few places."""
        e, f = self.more
        mixed = (tens[few] | tens[few + HALF].astype(np.uint64) << np.uint64(30)) * e
        mixed ^= mixed >> np.uint64(32)
        mixed *= f
        found = np.sort((first[few].astype(np.uint64) << np.uint64(31)) | mixed >> np.uint64(33)).view(np.int64)
        return found[np.diff(found, prepend=-1) != 0][:KEPT]


def _tens(coarse: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint32]:
    """Ten values of three bits from every place on, in one word: 256 / 50 fit in three bits, and two words are a window."""
    two = coarse[:-1] | (coarse[1:] << np.uint16(3))
    four = two[:-2] | (two[2:] << np.uint16(6))
    eight = four.astype(np.uint32)
    ten = eight[4:-2] << np.uint32(12)
    ten |= eight[:-6]
    ten |= two[8:].astype(np.uint32) << np.uint32(24)
    return ten


def _textured(differ: npt.NDArray[np.uint8], few: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.bool_]:
    """Which windows, of all or of a few by their places, have neighbouring pixels that differ, by how much each value does from the next pixel's."""
    inner = WINDOW - 3
    if few is not None:
        return differ[few[:, None] + np.arange(inner)].sum(1, dtype=np.int32) >= TEXTURE * inner
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
