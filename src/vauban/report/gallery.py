"""Examples of broken rows: clean, adversarial and amplified difference, as small pictures or as the features that changed most."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vauban.errors import BadRun
from vauban.report.numbers import number, percent

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Broken rows of one threat, `n` of them.

    Attributes:
        clean, adversarial: inputs, (n, *shape), float32, in the data's box. Images are (1 or 3, height, width).
        label, clean_answer, adversarial_answer: class indices, (n,).
        clean_score, adversarial_score: confidence in the answer, in [0, 1], or NaN where the target gives none, (n,).
        distance: size of the change in the threat's norm, (n,).
        row: row ids, (n,).
        attack: which attack broke it, (n,).
    """

    clean: Array
    adversarial: Array
    label: Array
    clean_answer: Array
    adversarial_answer: Array
    clean_score: Array
    adversarial_score: Array
    distance: Array
    row: Array
    attack: Array

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def read(cls, path: Path) -> Gallery:
        """Read a gallery file (.npz); nothing is unpickled.

        Raises:
            BadRun: it cannot be read, an array is missing, or the arrays disagree about how many rows there are.
        """
        names = [f.name for f in fields(cls)]
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Array] = {name: file[name] for name in names if name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BadRun(f"{path}: no gallery can be read there ({error}); delete the file and audit again") from error
        missing = [name for name in names if name not in arrays]
        if missing:
            raise BadRun(f"{path}: the gallery lacks {', '.join(missing)}; delete the file and audit again")
        gallery = cls(**arrays)
        lengths = {len(a) if a.ndim else -1 for a in arrays.values()}
        if len(lengths) > 1 or gallery.clean.shape != gallery.adversarial.shape:
            raise BadRun(f"{path}: the gallery's arrays disagree about their rows; delete the file and audit again")
        return gallery

    def write(self, path: Path) -> None:
        """Write as .npz, compressed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Change:
    """One feature of a vector before and after."""

    feature: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class Example:
    """One broken row as the page shows it: three pictures (data URIs), or the features that changed most."""

    row: int
    label: str
    attack: str
    distance: str
    before: str
    after: str
    clean: str = ""
    adversarial: str = ""
    difference: str = ""
    amplified: str = ""
    aspect: str = ""
    changes: tuple[Change, ...] = ()
    untold: int = 0


def examples(gallery: Gallery, classes: Sequence[str], box: tuple[float, float], most: int = 12, unit: str = "") -> tuple[Example, ...]:
    """The first `most` rows of a gallery, rendered.

    Args:
        gallery: the rows.
        classes: class names.
        box: the data's range, shown as black to white.
        most: how many rows.
        unit: what sizes are counted in, such as "pixel"; empty where that is clear.
    """
    return tuple(_example(gallery, i, classes, box, unit) for i in range(min(most, len(gallery))))


def is_image(shape: Sequence[int]) -> bool:
    """Whether an input of this shape is drawn: one or three channels, then height and width."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1


def _example(gallery: Gallery, i: int, classes: Sequence[str], box: tuple[float, float], unit: str) -> Example:
    size = number(float(gallery.distance[i]))
    facts: dict[str, Any] = {
        "row": int(gallery.row[i]),
        "label": _name(int(gallery.label[i]), classes),
        "attack": str(gallery.attack[i]),
        "distance": f"{size} {unit}{'' if size == '1' else 's'}" if unit else size,
        "before": _answer(int(gallery.clean_answer[i]), float(gallery.clean_score[i]), classes),
        "after": _answer(int(gallery.adversarial_answer[i]), float(gallery.adversarial_score[i]), classes),
    }
    clean, adversarial = (a[i].astype(np.float64) for a in (gallery.clean, gallery.adversarial))
    if is_image(clean.shape):
        return Example(**facts, **_pictures(clean, adversarial, box))
    changes, untold = _changes(clean.ravel(), adversarial.ravel())
    return Example(**facts, changes=changes, untold=untold)


def _name(answer: int, classes: Sequence[str]) -> str:
    return classes[answer] if 0 <= answer < len(classes) else f"class {answer}"


def _answer(answer: int, score: float, classes: Sequence[str]) -> str:
    sure = percent(score, 0)
    return f"{_name(answer, classes)} ({sure})" if np.isfinite(score) else _name(answer, classes)


def _pictures(clean: Array, adversarial: Array, box: tuple[float, float]) -> dict[str, Any]:
    lo, hi = box
    change = (adversarial - clean) / (hi - lo)
    peak = float(np.abs(change).max())
    return {
        "clean": _png((clean - lo) / (hi - lo)),
        "adversarial": _png((adversarial - lo) / (hi - lo)),
        "difference": _png(_tinted(change / (peak or 1))),
        "amplified": f"× {number(1 / peak, 2)}" if peak > 0 else "no change",
        "aspect": f"{clean.shape[2]} / {clean.shape[1]}",
    }


def _tinted(change: Array) -> Array:
    """A change in [-1, 1] as a picture: one channel from blue (darker) over white to orange (brighter), three channels around mid-grey."""
    if len(change) > 1:
        return 0.5 + change / 2
    amount, up = np.abs(change), change > 0
    ink = np.where(up, np.array([0.76, 0.36, 0.0]).reshape(3, 1, 1), np.array([0.07, 0.35, 0.58]).reshape(3, 1, 1))
    return 1 - amount * (1 - ink)


def _png(image: Array) -> str:
    """(channels, height, width) in [0, 1] as the data URI of a PNG."""
    levels = np.clip(np.nan_to_num(image) * 255, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _changes(clean: Array, adversarial: Array, most: int = 8) -> tuple[tuple[Change, ...], int]:
    """The features that changed most, largest change first, and how many more changed."""
    change = adversarial - clean
    moved = int(np.count_nonzero(change))
    order = np.argsort(-np.abs(change), kind="stable")[: min(most, moved)]
    rows = (Change(str(j), number(float(clean[j])), number(float(adversarial[j])), f"{float(change[j]):+.3g}") for j in order)
    return tuple(rows), moved - len(order)
