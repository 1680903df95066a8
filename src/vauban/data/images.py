"""Rows from a folder of images, one sub-folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vauban.data.raw import Array, Ask, Raw
from vauban.errors import BadData, nearest

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".gif")
GREY, COLOUR = ("1", "L"), ("RGB", "P", "RGBA", "LA", "CMYK", "YCbCr")


def read_images(folder: Path, ask: Ask) -> Raw:
    """Files in the order of their class folders and names, both sorted; they are decoded when they are chosen."""
    who = folder.name
    if ask.group is not None:
        raise BadData(f"{who}: a folder of images has no column {ask.group!r} for group; use .npz, or a function that returns groups")
    if ask.split is not None:
        splits = _folders(folder)
        if ask.split not in splits:
            raise BadData(f"{who}: no folder for split {ask.split!r}; {nearest(ask.split, splits)}")
        folder = folder / ask.split
    names = _folders(folder)
    if not names:
        raise BadData(f"{who}: no sub-folders; put the images of each class into a folder of its name")
    files = [(name, f) for name in names for f in sorted((folder / name).iterdir()) if f.suffix.lower() in SUFFIXES and f.name[0] != "."]
    y = np.array([name for name, _ in files], dtype=np.str_)
    return Raw(Images([f for _, f in files], who), y, who, classes=tuple(names), layout="hwc")


def _folders(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))


class Images:
    """Image files of one size; uint8 (n, height, width, 1 or 3), colour if any of those taken is."""

    def __init__(self, files: list[Path], who: str) -> None:
        self.files, self.who = files, who

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: Array) -> Array:
        pictures = [self._open(self.files[i]) for i in index.tolist()]
        for i, picture in zip(index.tolist(), pictures, strict=True):
            if picture.shape[:2] != pictures[0].shape[:2]:
                raise BadData(
                    f"{self.who}: {self._say(self.files[i])} is {_size(picture)} and {self._say(self.files[index[0]])} is "
                    f"{_size(pictures[0])}; all images must have one size"
                )
        channels = max((p.shape[2] for p in pictures), default=1)
        return np.stack([np.broadcast_to(p, (*p.shape[:2], channels)) for p in pictures])

    def _open(self, file: Path) -> Array:
        try:
            with Image.open(file) as image:
                if image.mode in GREY:
                    return np.asarray(image.convert("L"))[:, :, None]
                if image.mode not in COLOUR:
                    raise BadData(
                        f"{self.who}: {self._say(file)} has mode {image.mode}; Vauban reads 8-bit grey and colour images, others from .npz"
                    )
                if image.has_transparency_data and np.asarray(image.convert("RGBA"))[:, :, 3].min() < 255:
                    raise BadData(f"{self.who}: {self._say(file)} is partly transparent; flatten it onto the background that the model saw")
                return np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise BadData(f"{self.who}: {self._say(file)} cannot be read as an image; it is damaged or no image") from error

    @staticmethod
    def _say(file: Path) -> str:
        return f"{file.parent.name}/{file.name}"


def _size(picture: Array) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
