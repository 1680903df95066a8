"""The owner's rows: live pictures and attacks by their kind, from an archive or from folders of images."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vauban.errors import BadData, nearest
from vauban.guard.images.picture import Picture, Pixels, Size

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
LIVE = "live"
MOST = 10_000
"""Classes that a model may tell apart."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Pictures of which it is known what they are.

    Attributes:
        pixels: uint8 (h, w, 3) each, of any sizes.
        kinds: of each: "live", or the kind of attack.
        number: of the live class, where the data number their classes.
        sha256: of all of it.
    """

    pixels: Sequence[Pixels]
    kinds: tuple[str, ...]
    number: int | None = None

    @property
    def live(self) -> npt.NDArray[np.bool_]:
        """bool (n,): which are live."""
        return np.array([kind == LIVE for kind in self.kinds], bool)

    @property
    def sha256(self) -> str:
        total = sha256()
        for kind, pixels in zip(self.kinds, self.pixels, strict=True):
            total.update(f"{kind}\0{pixels.shape}\0".encode())
            total.update(np.ascontiguousarray(pixels).tobytes())
        return total.hexdigest()

    def levels(self, size: Size) -> npt.NDArray[np.uint8]:
        """All of them in one size, uint8 (n, height, width, 3), scaled as the guard scales what devices send."""
        return np.stack([Picture.fitted(p, [size]).pixels[size] for p in self.pixels])

    def __len__(self) -> int:
        return len(self.kinds)


def read_rows(path: Path, live: str = LIVE, group: str = "") -> Rows:
    """Rows from `x`, `y` and `classes` of a .npz archive, or from folders of images: FOLDER/live/... and FOLDER/KIND OF ATTACK/...

    Args:
        path: the archive or the folder.
        live: the class that is live: a name, or its number.
        group: the array of the archive that holds each row's kind of attack; by default its class is its kind.

    Raises:
        BadData: nothing there can be read, there are no live rows, a label is of no class, or a kind of attack is called "live".
    """
    rows = _folder(path, live) if path.is_dir() else _archive(path, live, group)
    if not rows.live.any():
        raise BadData(f"{path}: no row is {live!r}; say which class is live")
    return rows


def read_pictures(path: Path) -> list[Pixels]:
    """Pictures of whatever kind: a folder of images or of archives, an archive (`x`), or what an audit saved (.safetensors with `x`).

    Raises:
        BadData: there is none.
    """
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGES | {".npz", ".safetensors"}) if path.is_dir() else [path]
    found = [pixels for file in files for pixels in _pictures(file)]
    if not found:
        raise BadData(f"{path}: holds no pictures (.png, .jpg, .webp, .npz, .safetensors)")
    return found


def levels_of(x: npt.NDArray[Any], where: str) -> list[Pixels]:
    """uint8 (h, w, 3) each of inputs (n, c, h, w) or (n, h, w, c): whole levels, or numbers in [0, 1] that are rounded to them.

    Raises:
        BadData: they are neither.
    """
    if x.ndim != 4 or not (x.shape[1] in (1, 3) or x.shape[3] in (1, 3)):
        raise BadData(f"{where}: inputs of shape {x.shape}; pictures (n, channels, height, width) with 1 or 3 channels are needed")
    if x.dtype != np.uint8:
        if x.dtype.kind not in "biuf" or not x.size or not bool(np.isfinite(x).all()) or x.min() < 0 or x.max() > 1:
            raise BadData(f"{where}: inputs of type {x.dtype} that are not all in [0, 1]")
        x = np.rint(x * 255).astype(np.uint8)
    x = x.transpose(0, 2, 3, 1) if x.shape[1] in (1, 3) else x
    return list(np.ascontiguousarray(np.broadcast_to(x, (*x.shape[:3], 3))))


def _archive(path: Path, live: str, group: str) -> Rows:
    held = _arrays(path)
    if not {"x", "y"} <= held.keys():
        raise BadData(f"{path}: has no arrays x and y; it holds {', '.join(held) or 'nothing'}")
    names = [str(n) for n in held["classes"].reshape(-1)] if "classes" in held else None
    y = _labels(held["y"].reshape(-1), names, str(path))
    names = names or [str(n) for n in range(int(y.max(initial=0)) + 1)]
    number = names.index(live) if live in names else int(live) if live.isdecimal() and int(live) < len(names) else None
    if number is None:
        raise BadData(f"{path}: no class {live!r}; {nearest(live, names)}")
    if group and group not in held:
        raise BadData(f"{path}: no array {group!r}; {nearest(group, held)}")
    kinds = [str(k) for k in held[group].reshape(-1)] if group else [names[c] for c in y]
    pixels = levels_of(held["x"], str(path))
    if not len(pixels) == len(y) == len(kinds):
        raise BadData(f"{path}: {len(pixels)} inputs, {len(y)} classes, {len(kinds)} kinds; give one of each for each row")
    return Rows(pixels, _kinds([names[c] == names[number] for c in y], kinds, live, str(path)), number)


def _labels(y: npt.NDArray[Any], names: Sequence[str] | None, where: str) -> npt.NDArray[np.int64]:
    """Whole numbers, each of a class."""
    if y.dtype.kind not in "biuf":
        raise BadData(f"{where}: y is of type {y.dtype}; the number of its class is needed for each row")
    most = len(names) if names else MOST
    wrong = np.unique(y[~((y >= 0) & (y < most) & (y == np.floor(y)))])
    if len(wrong):
        known = f"classes has {most} names" if names else "classes are numbered from 0 on"
        raise BadData(f"{where}: y holds {wrong[0]}, which is no class; {known}, so that y is one of 0 to {most - 1}")
    return y.astype(np.int64)


def _kinds(live: Sequence[bool], kinds: Sequence[str], asked: str, where: str) -> tuple[str, ...]:
    """Live rows are called "live", so that no attack may be."""
    if any(kind == LIVE and not is_live for kind, is_live in zip(kinds, live, strict=True)):
        raise BadData(f'{where}: {asked!r} is said to be live, and rows of another class are called "live"; ask for those, or rename them')
    return tuple(LIVE if is_live else kind for kind, is_live in zip(kinds, live, strict=True))


def _folder(path: Path, live: str) -> Rows:
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGES)
    if not files:
        found = "holds no images (.png, .jpg, .webp)" if any(path.iterdir()) else "the folder is empty"
        raise BadData(f"{path}: {found}; they belong into {path}/{live}/ and {path}/KIND OF ATTACK/")
    kinds = [f.relative_to(path).parts[0] if f.parent != path else "unnamed" for f in files]
    told = _kinds([kind == live for kind in kinds], kinds, live, str(path))
    return Rows([_image(f) for f in files], told)


def _pictures(file: Path) -> Iterator[Pixels]:
    if file.suffix.lower() in IMAGES:
        yield _image(file)
        return
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            held = load_file(file)
        except (SafetensorError, OSError) as error:
            raise BadData(f"{file}: cannot be read: {error}") from error
    else:
        held = _arrays(file)
    if "x" not in held:
        raise BadData(f"{file}: has no array x")
    yield from levels_of(held["x"], str(file))


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            archive = zipfile.is_zipfile(file)
        if archive:
            with np.load(path, allow_pickle=False) as held:
                return {name: held[name] for name in held.files if name not in held.zip.namelist()}
    except FileNotFoundError as error:
        raise BadData(f"{path}: there is no such file") from error
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        said = "is an archive with an array that cannot be read: it is damaged, or holds objects; arrays of numbers and of text are read"
        raise BadData(f"{path}: {said}") from error
    raise BadData(f"{path}: is no archive of arrays (.npz); `numpy.savez` writes one")


def _image(path: Path) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadData(f"{path}: is no image that can be read: {error}") from error
