"""JPEG compression, so that what the eye does not see is thrown away; attacked through a JPEG that can be differentiated."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from vauban.defences.input.checks import images, unit_range
from vauban.defences.input.differentiable_jpeg import SoftJpeg
from vauban.defences.input.owed import THROUGH
from vauban.defences.registry import defence
from vauban.target import Preprocessed, Target

Quality = Annotated[int, Field(ge=1, le=100)]


@defence(
    "input",
    claims="small changes that compression removes, in any norm",
    adaptive="gradients of a differentiable JPEG in its place, verified on the real one; straight through it (BPDA) is not enough",
    paper="Dziugaite et al. 2016, arXiv:1608.00853; Guo et al. 2018, arXiv:1711.00117",
    owes=THROUGH,
    images=True,
    broken="accuracy 0 under BPDA on ImageNet (Athalye et al. 2018, arXiv:1802.00420); through a differentiable JPEG (Shin and Song 2017)",
)
def jpeg(target: Target, *, quality: Quality = 75) -> Target:
    """Compresses images in [0, 1], of 1 or 3 channels, as JPEG and opens them again."""
    return Preprocessed(Jpeg(quality), target, soft=SoftJpeg(quality, clamps=False))


class Jpeg:
    """Images (n, 1 or 3, height, width) in [0, 1] through Pillow's JPEG, colours at half the resolution (4:2:0)."""

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def __call__(self, x: Tensor) -> Tensor:
        images(x, "jpeg", channels=(1, 3))
        unit_range(x, "jpeg")
        levels = (x.detach() * 255).round().clamp(0, 255).to("cpu", torch.uint8).movedim(1, -1).numpy()
        seen = [self._through(picture) for picture in levels]
        if not seen:
            return x
        return torch.from_numpy(np.stack(seen)).to(x.device).to(x.dtype).movedim(-1, 1).contiguous() / 255

    def _through(self, picture: np.ndarray) -> np.ndarray:
        """One picture, uint8 (height, width, channels)."""
        file = io.BytesIO()
        Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0]).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as opened:
            return np.asarray(opened).reshape(picture.shape)
