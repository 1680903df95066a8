"""A picture as models see it: whole levels, in every size that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vauban.errors import BadData

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Picture:
    """One decoded picture.

    Attributes:
        pixels: uint8 (h, w, 3) by its (h, w), red first.
    """

    pixels: Mapping[Size, Pixels] = field(repr=False)

    @classmethod
    def of(cls, pixels: Iterable[Pixels]) -> Picture:
        """The picture that has these pixels in these sizes."""
        return cls({(int(p.shape[0]), int(p.shape[1])): p for p in pixels})

    @classmethod
    def fitted(cls, pixels: Pixels, sizes: Iterable[Size]) -> Picture:
        """A picture from trusted pixels, uint8 (h, w) or (h, w, 3), scaled as the decoder scales."""
        from PIL import Image

        from vauban.guard.images.worker import scaled

        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)):
            raise BadData(f"pixels of type {pixels.dtype} and shape {pixels.shape}; give uint8 (height, width, 3)")
        image = Image.fromarray(pixels.reshape(pixels.shape[:2]) if pixels.size == pixels.shape[0] * pixels.shape[1] else pixels)
        return cls.of(np.asarray(scaled(image.convert("RGB"), size)) for size in sizes)
