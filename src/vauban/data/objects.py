"""Rows from what a Python function returns, or what a program already holds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from vauban.data.raw import Array, Ask, Raw, as_groups
from vauban.data.rows import Rows
from vauban.errors import BadData, nearest
from vauban.user_code import call, find

KEYS = ("x", "y", "groups", "group_column", "classes", "ids", "lo", "hi", "features", "name")


def read_function(spec: str, ask: Ask) -> Raw:
    """Rows from what the spec names, or from what it returns where it is a function."""
    return read_object(found_at(spec, ask), spec)


def found_at(spec: str, ask: Ask) -> object:
    """What the function returns (called with `split=` where one is asked for), or the object itself that the spec names."""
    found = find(spec, ask.base, BadData)
    if not callable(found):
        return found
    settings: dict[str, object] = {}
    if ask.split is not None:
        if "split" not in inspect.signature(found).parameters:
            raise BadData(f"{spec}: split = {ask.split!r} was asked for, and the function takes no argument called split")
        settings["split"] = ask.split
    return call(found, spec, ask.base, BadData, **settings)


def read_object(found: object, name: str) -> Raw:
    """Rows from (x, y), (x, y, groups), a mapping with those names, or `Rows`."""
    if isinstance(found, Rows):
        return _from_rows(found)
    if isinstance(found, Mapping):
        return _from_mapping(dict(cast("Mapping[str, Any]", found)), name)
    if isinstance(found, tuple | list):
        parts = list(cast("list[Any]", found))
        if len(parts) in (2, 3):
            return _from_mapping(dict(zip(("x", "y", "groups"), parts, strict=False)), name)
    raise BadData(f"{name}: got {_what(found)}; data are (x, y), (x, y, groups), a dict with keys x and y, or vauban.data.Rows")


def _what(found: object) -> str:
    return (
        f"{type(found).__name__} of {len(cast('tuple[object, ...]', found))}" if isinstance(found, tuple | list) else type(found).__name__
    )


def _from_mapping(parts: dict[str, Any], name: str) -> Raw:
    for key in parts:
        if key not in KEYS:
            raise BadData(f"{name}: unknown key {key!r}; {nearest(str(key), KEYS)}")
    for key in ("x", "y"):
        if parts.get(key) is None:
            raise BadData(f"{name}: no {key!r}; it needs inputs x and labels y")
    groups, ids = parts.get("groups"), parts.get("ids")
    return Raw(
        _array(parts["x"], f"{name}: x"),
        _array(parts["y"], f"{name}: y"),
        str(parts.get("name") or name),
        ids=None if ids is None else _array(ids, f"{name}: ids").astype(np.int64),
        classes=None if parts.get("classes") is None else as_groups(parts["classes"]),
        groups=None if groups is None else as_groups(_array(groups, f"{name}: groups")),
        group_column=str(parts.get("group_column") or ("group" if groups is not None else "")),
        features=tuple(parts.get("features") or ()),
        lo=parts.get("lo"),
        hi=parts.get("hi"),
    )


def _from_rows(rows: Rows) -> Raw:
    layout = "chw" if rows.kind == "image" else rows.kind
    x, y, ids = rows.x.cpu().numpy(), rows.y.cpu().numpy(), rows.ids.cpu().numpy()
    return Raw(x, y, rows.name, ids, rows.classes, rows.groups, rows.group_column, rows.features, rows.lo, rows.hi, layout, ready=True)


def _array(values: object, what: str) -> Array:
    if isinstance(values, Tensor):
        whole = values.detach().cpu()
        return (whole.float() if whole.dtype == torch.bfloat16 else whole).numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise BadData(f"{what} is ragged: its rows have different lengths; all must have one shape") from error
