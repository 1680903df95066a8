"""Rows from a CSV or Parquet table: a label column, perhaps a group column, and numeric features."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from vauban.data.raw import Array, Ask, Raw, as_groups
from vauban.errors import BadData, nearest

LABEL_NAMES = ("label", "target", "class", "y")


def read_table(path: Path, ask: Ask) -> Raw:
    """All columns but label, group and (where a split is asked for) "split" are features, and must be numbers without gaps."""
    who = path.name
    table = opened(path)
    names: list[str] = table.column_names
    if not table.num_rows:
        raise BadData(f"{who}: no rows; there is nothing to attack")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise BadData(f"{who}: two columns are called {twice!r}; give each a name of its own")
    label = label_column(names, ask.label, who)
    if ask.group is not None and ask.group not in names:
        raise BadData(f"{who}: no column {ask.group!r} for group; {nearest(ask.group, names)}")
    ids = rows_of_split(table, ask.split, who)
    features = [n for n in names if n not in (label, ask.group) and not (ask.split is not None and n == "split")]
    if not features:
        raise BadData(f"{who}: no column is left for features beside the label {label!r}")
    x = np.stack([_numbers(table, n, who) for n in features], 1)
    groups = None if ask.group is None else as_groups(values_of(table, ask.group, who)[ids])
    y = values_of(table, label, who)[ids]
    return Raw(x[ids], y, who, ids=ids, groups=groups, group_column=ask.group or "", features=tuple(features), table=True)


def opened(path: Path) -> Any:
    """A table as Arrow reads it; raises `BadData` where it cannot."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix.lower() == ".csv":
            return csv.read_csv(path)
        return parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{path.name} cannot be read as a table: {str(error).splitlines()[0]}") from error


def label_column(names: list[str], label: str | None, who: str) -> str:
    """The column that holds the labels: the one that is named, or one that is called so."""
    if label is None:
        lower = {n.lower(): n for n in reversed(names)}
        found = next((lower[n] for n in LABEL_NAMES if n in lower), None)
        if found is None:
            raise BadData(f"{who}: which column is the label? Say label = one of {', '.join(names)}")
        return found
    if label not in names:
        raise BadData(f"{who}: no column {label!r} for label; {nearest(label, names)}")
    return label


def rows_of_split(table: Any, split: str | None, who: str) -> Array:
    """Indices of the rows whose column "split" says so; of all rows where none is asked for."""
    if split is None:
        return np.arange(table.num_rows)
    if "split" not in table.column_names:
        raise BadData(f'{who}: split = {split!r} needs a column called "split"')
    column = [str(v) for v in table["split"].to_pylist()]
    ids = np.flatnonzero(np.array(column) == split)
    if not len(ids):
        raise BadData(f"{who}: no row has split {split!r}; {nearest(split, set(column))}")
    return ids


def _full(table: Any, name: str, who: str) -> Any:
    column = table[name].combine_chunks()
    if column.null_count:
        raise missing(int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]), name, who)
    return column


def _numbers(table: Any, name: str, who: str) -> Array:
    from pyarrow import types

    kind = table[name].type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        if types.is_null(kind):
            raise BadData(f"{who}: column {name!r} is empty; leave it out")
        example = table[name][0].as_py()
        raise BadData(
            f"{who}: column {name!r} is not numeric (row 0 has {example!r}); encode it as numbers, leave it out, or name it as group"
        )
    return cast("Array", _full(table, name, who).to_numpy(zero_copy_only=False)).astype(np.float64)


def values_of(table: Any, name: str, who: str) -> Array:
    """A column without gaps."""
    values: list[object] = _full(table, name, who).to_pylist()
    if "" in values:
        raise missing(values.index(""), name, who)
    return np.array(values)


def missing(row: int, name: str, who: str) -> BadData:
    """The error that a value is missing."""
    return BadData(f"{who}: row {row}, column {name!r} is missing; fill it in or leave the row out (rows count from 0)")
