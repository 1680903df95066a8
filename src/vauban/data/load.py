"""Rows from what a campaign file says: an archive, a folder of images, a table, or code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vauban.data.check import bounds_of, check_classes, check_inside, check_lengths, check_numbers, note_of_sample
from vauban.data.images import read_images
from vauban.data.labels import indexed
from vauban.data.layout import arranged, layout_of
from vauban.data.npz import read_npz
from vauban.data.objects import read_function, read_object
from vauban.data.raw import Array, Ask, Raw
from vauban.data.rows import Bound, Kind, Rows
from vauban.data.tables import read_table
from vauban.errors import BadData
from vauban.noise import RowNoise
from vauban.user_code import is_code

Said = float | Sequence[float] | None


def load_data(
    spec: object,
    *,
    base: str | Path = ".",
    rows: int | None = None,
    seed: int = 0,
    lo: float | Sequence[float] | None = None,
    hi: float | Sequence[float] | None = None,
    x: str = "x",
    y: str = "y",
    group: str | None = None,
    label: str | None = None,
    classes: Sequence[object] | None = None,
    split: str | None = None,
    layout: str = "auto",
) -> Rows:
    """Rows to attack, checked.

    Args:
        spec: "data.npz"; a folder with one sub-folder of images for each class; "data.csv" or "data.parquet"; "file.py:name" or
            "package.module:name", a function that returns (x, y), (x, y, groups), a dict or `Rows`, or one of these itself. A program may
            give such a value instead of a text.
        base: the folder that paths are relative to.
        rows: how many to take: a uniform sample without replacement, in ascending order of id. Which ones depends on the seed and their
            ids alone; a larger sample holds the smaller.
        lo, hi: the range of the inputs: numbers, or one for each feature in C order. Without them [0, 1], where the data lie in it; a
            table always needs them. 8-bit images are scaled to [0, 1], unless bounds of [0, 255] are declared.
        x, y, group: names of the arrays in an archive; `group` also a column of a table.
        label: the label column of a table.
        classes: the names of the classes, in the order of the model's outputs; by default the sorted names, or the numbers.
        split: the part to read: arrays "x_<split>", the sub-folder, the rows whose column "split" says so, or the function's argument.
        layout: "chw", "hwc" or "hw" images, "vector", "series" (left as it lies), or "auto" to tell from the shape.

    Raises:
        BadData: the data cannot be read, or not be judged as they are; the message says where, and the mend.
    """
    raw = _read(spec, Ask(Path(base), x, y, group, label, split))
    check_lengths(raw)
    ids = np.arange(len(raw.x)) if raw.ids is None else raw.ids
    named = classes if classes is not None else raw.classes
    labels, names = indexed(raw.y, named, raw.name, ids, ready=raw.ready)
    if named is not None and not raw.ready:
        check_classes(labels, names, raw.name)
    places = chosen(ids, rows, seed, raw.name)
    said = (raw.lo, raw.hi) if lo is None and hi is None else (lo, hi)
    inputs, kind, low, high = _inputs(raw, places, ids, layout, said)
    kept = torch.from_numpy(places)
    return Rows(
        x=inputs,
        y=labels[kept],
        classes=names,
        ids=torch.from_numpy(ids)[kept],
        name=raw.name,
        lo=low,
        hi=high,
        kind=kind,
        groups=None if raw.groups is None else tuple(raw.groups[i] for i in places.tolist()),
        group_column=raw.group_column,
        features=raw.features,
        notes=note_of_sample(labels, labels[kept], names),
    )


def chosen(ids: Array, rows: int | None, seed: int, who: str) -> Array:
    """Places in `ids` of a uniform sample of `rows` without replacement, ordered by id.

    Raises:
        BadData: fewer than 1 row is asked for, or more than there are.
    """
    if rows is not None and not 1 <= rows <= len(ids):
        raise BadData(f"{who}: rows = {rows} must be from 1 to {len(ids)}, the number of rows there are")
    by_id = np.argsort(ids, kind="stable")
    if rows is None:
        return by_id
    lot = RowNoise(torch.from_numpy(ids[by_id]), seed, "rows").bits(1)[:, 0].numpy()
    return by_id[np.sort(np.argsort(lot, kind="stable")[:rows])]


def _inputs(raw: Raw, places: Array, ids: Array, layout: str, said: tuple[Said, Said]) -> tuple[Tensor, Kind, Bound, Bound]:
    """The inputs chosen, their kind and range. What is in memory is checked whole, so that no verdict on the data depends on the sample."""
    if isinstance(raw.x, np.ndarray):
        whole, numbers = raw.x, ids
    else:
        whole, numbers = raw.x.take(places), ids[places]
    check_numbers(whole, numbers, raw)
    lies = layout_of(whole, raw.layout if layout == "auto" else layout, raw.name)
    lo, hi, scale = bounds_of(whole, lies, raw, *said)
    x, kind = arranged(whole[places] if whole is raw.x else whole, lies, scale=scale)
    check_inside(x, lo, hi, ids[places], raw)
    return x, kind, lo, hi


def _read(spec: object, ask: Ask) -> Raw:
    if not isinstance(spec, str | Path):
        return read_object(spec, "data")
    text, path = str(spec), ask.base / spec
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_images(path, ask)
    if is_code(text):
        return read_function(text, ask)
    if suffix not in (".npz", ".csv", ".parquet", ".pq"):
        raise BadData(
            f'data = {text!r} is no source: write "data.npz", "data.csv", "data.parquet", a folder of images, or "file.py:function"'
        )
    if not path.is_file():
        raise BadData(f"{path}: no such file")
    return read_npz(path, ask) if suffix == ".npz" else read_table(path, ask)
