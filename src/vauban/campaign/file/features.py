"""What a campaign file says about the columns of a table, as constraints on what an attacker may do to them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from vauban.campaign.file.threat import FeaturesTable
from vauban.data import Rows
from vauban.errors import BadPlan, nearest
from vauban.geometry.tables import check_rows
from vauban.threat import Feature, Features
from vauban.threat.features import CHANGES, KINDS, Change, Kind, scaled_by

COLUMNS = ("name", "kind", "lo", "hi", "change", "group", "scale")
"""The columns that a CSV file of features may have; only `name` must be there, and an empty field says nothing."""


def features_of(table: FeaturesTable, eps: float | str, norm: str, data: Rows, base: Path) -> Features:
    """The constraints of a threat on the columns of the data.

    Raises:
        BadPlan: an unknown column, a contradiction, or a relation that cannot be read.
        BadData: a clean row that breaks a constraint.
    """
    names = data.features or tuple(f"x{i}" for i in range(data.x[0].numel()))
    if len(data.shape) != 1:
        raise BadPlan(f"features are columns of a table; these inputs have shape {data.shape}")
    columns = [_Column(name) for name in names]
    if table.file is not None:
        _from_csv(base / table.file, columns)
    _from_lists(table, columns)
    lows, highs = (b if isinstance(b, tuple) else (b,) * len(names) for b in (data.lo, data.hi))
    features = tuple(c.feature(lo, hi) for c, lo, hi in zip(columns, lows, highs, strict=True))
    if table.scale == "std":
        features = scaled_by(features, data.x.double().std(0, correction=0).tolist())
    elif not isinstance(table.scale, str):
        features = scaled_by(features, [table.scale] * len(features))
    found = Features(features, eps, norm, table.relations)
    check_rows(found, data.x, data.ids)
    return found


@dataclass
class _Column:
    """What was said of one column so far."""

    name: str
    kind: str = ""
    change: str = ""
    group: str = ""
    lo: float | None = None
    hi: float | None = None
    scale: float | None = None

    def say(self, what: str, value: Any) -> None:
        said = getattr(self, what)
        if said not in ("", None, value):
            raise BadPlan(f"features: {self.name!r} has {what} = {said!r} and {what} = {value!r}; say one of them")
        setattr(self, what, value)

    def feature(self, lo: float, hi: float) -> Feature:
        lo, hi = lo if self.lo is None else self.lo, hi if self.hi is None else self.hi
        if self.group:
            lo, hi = 0.0, 1.0
        kind = cast("Kind", self.kind or ("category" if self.group else "real"))
        return Feature(self.name, lo, hi, kind, cast("Change", self.change or "any"), self.group, self.scale)


def _from_lists(table: FeaturesTable, columns: list[_Column]) -> None:
    lists = (("integer", "kind", "integer"), ("fixed", "change", "none"), ("up", "change", "up"), ("down", "change", "down"))
    told: list[tuple[str, str, str, str | float]] = [
        (pattern, key, what, value) for key, what, value in lists for pattern in cast("list[str]", getattr(table, key))
    ]
    for group, patterns in table.groups.items():
        told += [(pattern, f"groups.{group}", "group", group) for pattern in ([patterns] if isinstance(patterns, str) else patterns)]
    for pattern, (lo, hi) in table.bounds.items():
        told += [(pattern, "bounds", "lo", lo), (pattern, "bounds", "hi", hi)]
    told += [(pattern, "scales", "scale", scale) for pattern, scale in table.scales.items()]
    for pattern, key, what, value in told:
        for column in _matching(pattern, columns, key):
            column.say(what, value)


def _matching(pattern: str, columns: Sequence[_Column], what: str) -> list[_Column]:
    """The columns that a name or a pattern such as "purpose_*" means."""
    found = [c for c in columns if c.name == pattern] or [c for c in columns if fnmatchcase(c.name, pattern)]
    if not found:
        raise BadPlan(f"features: {what}: no column is named {pattern!r}; {nearest(pattern, [c.name for c in columns])}")
    return found


def _from_csv(path: Path, columns: list[_Column]) -> None:
    """One line a feature, with a header of some of `COLUMNS`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadPlan(f"features: {path.name} cannot be read: {error}") from error
    for line, row in enumerate(rows, start=2):
        where = f"features: {path.name}:{line}"
        for key in row:
            if key not in COLUMNS:
                raise BadPlan(f"{where}: no column {key!r} is known in a file of features; {nearest(str(key), COLUMNS)}")
        if not row.get("name"):
            raise BadPlan(f"{where}: the column 'name' is missing or empty")
        column = _matching(row["name"], columns, f"{path.name}:{line}")[0]
        for what in COLUMNS[1:]:
            if row.get(what):
                column.say(what, _field(where, what, row[what].strip()))


def _field(where: str, what: str, text: str) -> str | float:
    if what in ("lo", "hi", "scale"):
        try:
            return float(text)
        except ValueError as error:
            raise BadPlan(f"{where}: {what} = {text!r} must be a number") from error
    known: dict[str, tuple[str, ...]] = {"kind": KINDS, "change": CHANGES}
    if what in known and text not in known[what]:
        raise BadPlan(f"{where}: {what} = {text!r} is unknown; {nearest(text, known[what])}")
    return text
