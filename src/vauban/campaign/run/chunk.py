"""What was learnt of one chunk of rows under one threat: plain values, written when the chunk is finished and read back on resume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from vauban.errors import BadRun

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Try:
    """What one attack did to the rows of one chunk. Sums are over its rows, so that chunks add up.

    Attributes:
        label: its name, unique under the threat.
        tried: eligible rows still standing when it began.
        ran: rows it was run on: those, and for the curve the broken ones too.
        forwards, backwards, surrogate_forwards, surrogate_backwards: passes, summed over rows.
        most: the most questions it asked on any row.
        seconds: wall-clock time.
        stopped: why it ended early, if it did.
        proved: rows it proved robust.
    """

    label: str
    tried: int = 0
    ran: int = 0
    forwards: int = 0
    backwards: int = 0
    surrogate_forwards: int = 0
    surrogate_backwards: int = 0
    most: int = 0
    seconds: float = 0.0
    stopped: str = ""
    proved: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row.

    Attributes:
        row: its id.
        eligible, attacked: whether it is in the denominator, and whether it was attacked at all.
        broken: an example was verified, or (untargeted) the clean input already errs.
        by: the place of the attack that broke it, or -1.
        distance: of the nearest known example, 0 where the clean input errs; None where none is known.
        size: of the nearest example known when the attack that broke it was done; None where no attack broke it.
        first: which of all questions on the row won (0: it erred untouched; -1: none did); `won` counts within the attack that won.
        queries, gradients: what the row was charged.
        share: of fresh draws that the example fooled, for a randomised target; else 1.
        after: the answer to its example; the clean answer where it stands.
        unverified: an example was found and did not fool again; the row counts as standing.
        rounded: whether the example survives rounding to 8 bits; None where that was not asked.
        nonfinite, bad_gradient: whether a score, or a gradient, was not finite.
        proved: it is proven that nothing within the radius is a success.
        taken: gradients taken on the row up to the question that won; -1 where none did.
        kinds: what its questions were for, in the order of `vauban.doors.KINDS`.
        refused: how many of them got no answer.
        declined: at some point nothing but a rejection kept an answer from being a success.
    """

    row: int
    eligible: bool
    attacked: bool
    broken: bool
    by: int = -1
    distance: float | None = None
    size: float | None = None
    first: int = -1
    won: int = -1
    queries: int = 0
    gradients: int = 0
    share: float = 1.0
    after: int = -1
    unverified: bool = False
    rounded: bool | None = None
    nonfinite: bool = False
    bad_gradient: bool = False
    proved: bool = False
    taken: int = -1
    kinds: tuple[int, ...] = ()
    refused: int = 0
    declined: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk under one threat: what the attacks did and what became of the rows, in order of row id."""

    number: int
    tries: tuple[Try, ...]
    fates: tuple[Fate, ...]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Survey:
    """Clean answers of all rows, asked once before any attack.

    Attributes:
        rows: row ids, ascending.
        answers, correct, nonfinite: clean answers, whether they are right, whether a score is not finite.
        classes: how many classes the target has.
        outputs: what its raw outputs were recognised as.
        seconds: wall-clock time.
        missing: places of the rows that got no answer.
    """

    rows: tuple[int, ...]
    answers: tuple[int, ...]
    correct: tuple[bool, ...]
    nonfinite: tuple[bool, ...]
    classes: int
    outputs: str
    seconds: float = 0.0
    missing: tuple[int, ...] = ()


def packed(value: Chunk | Survey) -> bytes:
    """As JSON. Floats come back exactly as they were."""
    return msgspec.json.encode(value)


def unpacked(content: bytes, kind: type[T], where: str) -> T:
    """The inverse of `packed`.

    Raises:
        BadRun: it is not what it should be.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise BadRun(f"{where} is damaged ({error}); delete it and audit again: only that chunk is repeated") from error


def finite(value: float) -> float | None:
    """The value; None for infinity and NaN, which JSON has no word for."""
    return value if math.isfinite(value) else None
