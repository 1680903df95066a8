"""The pictures that a guard is probed with: read from a file or made of noise, and never the same pixels twice."""

from __future__ import annotations

import io
import secrets
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vauban.errors import BadData

FORMATS = ("JPEG", "PNG", "WEBP")
STEPS, STEP = 32, 2
"""Levels that a corner may be shifted by: so many, so far apart, for each of three colours."""
CORNER = 32
"""A corner is this part of each side, so that its shift is left when the guard scales the picture."""


def noise(side: int = 112) -> bytes:
    """A JPEG of noise, another one each time."""
    written = io.BytesIO()
    levels = np.random.default_rng(secrets.randbits(64)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(levels).save(written, "JPEG", quality=90)
    return written.getvalue()


def picture(file: Path, pixels: int) -> bytes:
    """The bytes of a file that is an image.

    Args:
        pixels: that it may have.

    Raises:
        BadData: it cannot be read, is no image that a guard takes, or has too many pixels.
    """
    try:
        body = file.read_bytes()
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        width, height = _levels(body).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadData(f"{file} is no image; give a JPEG, PNG or WebP file") from error
    if width * height > pixels:
        raise BadData(f"{file} has {width} x {height} pixels, and the guard takes {pixels} ([listen] pixels); give a smaller one")
    return body


def fresh(image: bytes, most: int) -> bytes:
    """The same picture with two corners a little darker or brighter, as no one was before: the guard saw it never, and it shows the same.

    Args:
        most: bytes that the file may have; a PNG where that is enough.
    """
    levels = np.array(_levels(image))
    height, width = -(-levels.shape[0] // CORNER), -(-levels.shape[1] // CORNER)
    for corner in (levels[-height:, -width:], levels[-height:, :width]):
        shift = np.array([STEP * secrets.randbelow(STEPS) for _ in range(3)])
        middle = corner.mean((0, 1))
        corner[:] = np.clip(corner + np.where(middle < 128, shift, -shift), 0, 255)
    written = io.BytesIO()
    Image.fromarray(levels).save(written, "PNG")
    if written.tell() > most:
        written = io.BytesIO()
        Image.fromarray(levels).save(written, "JPEG", quality=95)
    return written.getvalue()


def _levels(body: bytes) -> Image.Image:
    """Upright, in three colours."""
    with Image.open(io.BytesIO(body), formats=FORMATS) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
