"""Texts to attack, with their classes: from a CSV, Parquet or JSON Lines table, or from code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vauban.data.check import check_classes, check_lengths, note_of_sample
from vauban.data.labels import indexed
from vauban.data.load import chosen
from vauban.data.objects import found_at, read_object
from vauban.data.raw import Array, Ask, Raw, as_groups
from vauban.data.tables import label_column, missing, opened, rows_of_split, values_of
from vauban.errors import BadData, nearest
from vauban.user_code import is_code

TABLES = (".csv", ".parquet", ".pq", ".jsonl")
NAME = "text"
"""The column of texts where none is named."""


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts and their classes.

    Attributes:
        texts, y: n texts, and their classes, int64 (n,).
        classes: their names.
        ids: the index of each row in the source, int64 (n,), ascending.
        name: where they come from.
        groups, group_column: the subgroup of each row, and what it is called.
        notes: what a reader must know of a sample.
    """

    texts: tuple[str, ...]
    y: Tensor
    classes: tuple[str, ...]
    ids: Tensor
    name: str = "the texts given"
    groups: tuple[str, ...] | None = None
    group_column: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sha256(self) -> str:
        """Of the texts and their classes."""
        return hashlib.sha256(json.dumps([self.texts, self.y.tolist()]).encode()).hexdigest()


def load_texts(
    spec: str,
    *,
    base: str | Path = ".",
    rows: int | None = None,
    seed: int = 0,
    text: str | None = None,
    group: str | None = None,
    label: str | None = None,
    classes: Sequence[object] | None = None,
    split: str | None = None,
) -> Texts:
    """Texts to attack, checked.

    Args:
        spec: "texts.csv", "texts.parquet" or "texts.jsonl" (one JSON object a line), or "file.py:function", which returns texts and labels,
            and perhaps groups.
        text: the column of texts; "text" by default.
        base, rows, seed, group, label, classes, split: as for `load_data`.

    Raises:
        BadData: the texts cannot be read, one is empty, or a label is none; the message says where, and the mend.
    """
    ask = Ask(Path(base), group=group, label=label, split=split)
    raw = _from_code(spec, ask) if is_code(spec) else _from_table(spec, ask, text)
    check_lengths(raw)
    ids = np.arange(len(raw.x)) if raw.ids is None else raw.ids
    found = _checked(cast("Array", raw.x), ids, raw.name)
    named = classes if classes is not None else raw.classes
    y, names = indexed(raw.y, named, raw.name, ids)
    if named is not None:
        check_classes(y, names, raw.name)
    places = chosen(ids, rows, seed, raw.name)
    kept = torch.from_numpy(places)
    return Texts(
        tuple(found[i] for i in places.tolist()), y[kept], names, torch.from_numpy(ids)[kept], raw.name,
        None if raw.groups is None else tuple(raw.groups[i] for i in places.tolist()), raw.group_column, note_of_sample(y, y[kept], names),
    )  # fmt: skip


def _checked(x: Array, ids: Array, who: str) -> list[str]:
    """Every row of the source as a text; the sample changes nothing about what is wrong."""
    found: list[object] = x.tolist()
    for row, text in zip(ids.tolist(), found, strict=True):
        if not isinstance(text, str):
            raise BadData(f"{who}: row {row} is {type(text).__name__} and no text; give strings")
        if not text.strip():
            raise BadData(f"{who}: row {row}: the text is empty; fill it in or leave the row out (rows count from 0)")
    return cast("list[str]", found)


def _from_code(spec: str, ask: Ask) -> Raw:
    found = found_at(spec, ask)
    if isinstance(found, Mapping):
        parts = dict(cast("Mapping[str, Any]", found))
        return read_object({k: _objects(v) if k == "x" else v for k, v in parts.items()}, spec)
    if isinstance(found, tuple | list) and found:
        first, *rest = cast("Sequence[Any]", found)
        return read_object((_objects(first), *rest), spec)
    return read_object(found, spec)


def _objects(values: Any) -> Any:
    """Strings as an array that holds them as they are: one of numpy's own would make all as long as the longest."""
    if not isinstance(values, list | tuple | np.ndarray):
        return values
    many = list(cast("Sequence[object]", values))
    held = np.empty(len(many), dtype=object)
    held[:] = [str(v) if isinstance(v, str) else v for v in many]
    return held


def _from_table(spec: str, ask: Ask, text: str | None) -> Raw:
    path = ask.base / spec
    who, column = path.name, text or NAME
    if path.suffix.lower() not in TABLES:
        raise BadData(f'load = {spec!r} is no source of texts: write "texts.csv", "texts.parquet", "texts.jsonl", or "file.py:function"')
    if not path.is_file():
        raise BadData(f"{path}: no such file")
    table = _opened(path, column)
    names: list[str] = table.column_names
    if not table.num_rows:
        raise BadData(f"{who}: no rows; there is nothing to attack")
    if column not in names:
        if text is None:
            raise BadData(f"{who}: which column holds the texts? Say text = one of {', '.join(names)}")
        raise BadData(f"text = {text!r} is no column of {who}; {nearest(column, names)}")
    if len(set(names)) < len(names):
        raise BadData(f"{who}: two columns are called {next(n for n in names if names.count(n) > 1)!r}; give each a name of its own")
    label = label_column(names, ask.label, who)
    if label == column:
        raise BadData(f"{who}: text and label are the same column, {column!r}; name two")
    if ask.group is not None and ask.group not in names:
        raise BadData(f"{who}: no column {ask.group!r} for group; {nearest(ask.group, names)}")
    ids = rows_of_split(table, ask.split, who)
    groups = None if ask.group is None else as_groups(values_of(table, ask.group, who)[ids])
    x, y = _texts(table, column, who), values_of(table, label, who)
    return Raw(x[ids], y[ids], who, ids=ids, groups=groups, group_column=ask.group or "")


def _texts(table: Any, column: str, who: str) -> Array:
    found: list[object] = table[column].to_pylist()
    odd = next((i for i, v in enumerate(found) if not isinstance(v, str)), None)
    if odd is not None and found[odd] is None:
        raise missing(odd, column, who)
    if odd is not None:
        raise BadData(f"{who}: text = {column!r} holds no texts (row {odd} is {found[odd]!r}); name the column that does")
    return cast("Array", _objects(found))


def _opened(path: Path, column: str) -> Any:
    """The table. Of a CSV file, texts are texts even where all are numbers, and may have line breaks within quotes."""
    import pyarrow as pa
    from pyarrow import csv

    if path.suffix.lower() == ".jsonl":
        return _json_lines(path)
    if path.suffix.lower() != ".csv":
        return opened(path)
    try:
        options = csv.ConvertOptions(column_types={column: pa.string()})
        return csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _json_lines(path: Path) -> Any:
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadData(f"{path.name} cannot be read: byte {error.start} is not UTF-8") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: object = json.loads(line)
        except ValueError as error:
            raise BadData(f"{path.name}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise BadData(f'{path.name}, line {number}: not an object; write {{"text": ..., "label": ...}} on each line')
        rows.append(cast("dict[str, Any]", row))
    names = list(dict.fromkeys(k for row in rows for k in row))
    try:
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    except pa.ArrowException as error:
        raise BadData(f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}") from error
