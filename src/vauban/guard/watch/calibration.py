"""What was measured on the owner's own rows, signed by the guard: without it nothing of the watch is in force."""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vauban.errors import BadGuard
from vauban.guard.keys import Keys, key_id
from vauban.guard.quorum.signed import opened, read_document, signed, write_document
from vauban.guard.watch.anomaly import FEATURES, Usual
from vauban.guard.watch.thumbnail import SIZE, Floats, Thumb

KIND = "watch calibration"


@dataclass(frozen=True)
class Likeness:
    """When two captures are near-duplicates, and how often unrelated ones are.

    Attributes:
        sketch: share of hashes from which on two are near.
        thumb: one minus the cosine up to which two are near.
        chance: upper bound of the chance that two unrelated captures are near.
        history: how many captures are expected to be remembered at a time.
        objects: "first": a near-duplicate of another identity is rejected; "cluster": only those near a cluster in alarm.
    """

    sketch: float = 0.5
    thumb: float = 0.0164
    chance: float = 1e-6
    history: int = 0
    objects: Literal["first", "cluster"] = "cluster"

    @property
    def rate(self) -> float:
        """Upper bound of the share of unrelated captures that are near one of the history."""
        return min(1.0, self.chance * self.history)


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the owner's images lie.

    Attributes:
        centres: int8 (k, 192): thumbnails that stand for all.
        shares: float64 (k,): how many are nearest to each.
        bar: one minus the cosine to the nearest centre above which an image is outside.
        outside: upper bound of the share of the owner's images that are.
    """

    centres: Thumb = field(repr=False)
    shares: npt.NDArray[np.float64] = field(repr=False)
    bar: float
    outside: float


@dataclass(frozen=True)
class Rate:
    """How often something happens in quiet times.

    Attributes:
        hits: of the owner's rows.
        rows: how many there were.
        low, high: what is still quiet: the exact bounds, a quarter wider.
    """

    hits: int
    rows: int
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """The scores of one model on the owner's rows, never changed by what is seen later.

    Attributes:
        counts: of quantised scores -127 to 127.
        band: scores of at most this size are close to the threshold.
        close: how often they are.
        edges: the largest score of each range but the last.
        shares: of the ranges; `low` and `high` are exact bounds of them, all at once.
    """

    counts: tuple[int, ...] = field(repr=False)
    band: int
    close: Rate
    edges: tuple[int, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def range_of(self, score: int) -> int:
        """Which range a quantised score falls into."""
        return bisect_left(self.edges, score)


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that was measured.

    Attributes:
        shape: (height, width) of the images that fingerprints are made of.
        rows: images of different people.
        centre: float32 (192,): the mean thumbnail, or None.
        ensembles: for each ensemble: how often it rejects, and its models disagree.
        models: for each model.
        made: when, ISO 8601.
    """

    shape: tuple[int, int]
    rows: int
    likeness: Likeness
    centre: Floats | None = field(default=None, repr=False)
    usual: Usual | None = None
    cells: Cells | None = None
    rejects: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    splits: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    models: Mapping[str, Scores] = field(default_factory=dict[str, Scores])
    made: str = ""


def write_calibration(path: Path, found: Calibration, keys: Keys) -> None:
    """Write it, signed with the guard's key."""
    write_document(path, signed(KIND, {**_plain(found), "fingerprint": keys.hashed("fingerprint", keys.fingerprint.hex())}, keys.signing))


def read_calibration(path: Path, keys: Keys) -> Calibration:
    """What `vauban guard calibrate` wrote.

    Raises:
        BadGuard: it is missing, not signed by this guard as it stands, or made with another fingerprint key.
    """
    told = opened(read_document(path), KIND, {key_id(keys.public): keys.public}, str(path))
    if told.pop("fingerprint", None) != keys.hashed("fingerprint", keys.fingerprint.hex()):
        raise BadGuard(f"{path}: was made with another fingerprint key; run `vauban guard calibrate` again")
    try:
        return _read(told)
    except (KeyError, TypeError, ValueError) as error:
        raise BadGuard(f"{path}: is no calibration that this version reads; run `vauban guard calibrate` again") from error


def _plain(found: Calibration) -> dict[str, Any]:
    usual, cells = found.usual, found.cells
    return {
        "shape": list(found.shape),
        "rows": found.rows,
        "likeness": vars(found.likeness),
        "centre": None if found.centre is None else _packed(found.centre, "<f4"),
        "usual": usual and {**vars(usual), "mean": _packed(usual.mean, "<f8"), "whiten": _packed(usual.whiten, "<f8")},
        "cells": cells and {**vars(cells), "centres": _packed(cells.centres, "i1"), "shares": _packed(cells.shares, "<f8")},
        "rejects": {name: vars(rate) for name, rate in found.rejects.items()},
        "splits": {name: vars(rate) for name, rate in found.splits.items()},
        "models": {n: {**vars(s), "close": vars(s.close)} for n, s in found.models.items()},
        "made": found.made,
    }


def _read(told: dict[str, Any]) -> Calibration:
    centre = told["centre"]
    return Calibration(
        shape=(int(told["shape"][0]), int(told["shape"][1])),
        rows=told["rows"],
        likeness=Likeness(**told["likeness"]),
        centre=None if centre is None else _array(centre, "<f4"),
        usual=_usual(**told["usual"]) if told["usual"] else None,
        cells=_cells(**told["cells"]) if told["cells"] else None,
        rejects={name: Rate(**rate) for name, rate in told["rejects"].items()},
        splits={name: Rate(**rate) for name, rate in told["splits"].items()},
        models={n: _scores(**s) for n, s in told["models"].items()},
        made=told["made"],
    )


def _usual(mean: str, whiten: str, **told: Any) -> Usual:
    return Usual(mean=_array(mean, "<f8"), whiten=_array(whiten, "<f8").reshape(FEATURES, FEATURES), **told)


def _cells(centres: str, shares: str, **told: Any) -> Cells:
    return Cells(centres=_array(centres, "i1").reshape(-1, SIZE), shares=_array(shares, "<f8"), **told)


def _scores(band: int, close: dict[str, Any], **told: list[Any]) -> Scores:
    return Scores(band=band, close=Rate(**close), **{name: tuple(values) for name, values in told.items()})


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _array(told: str, kind: str) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(told), kind)
