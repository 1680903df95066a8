"""All chunks of one threat as one table of columns, in order of row id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vauban.campaign.doubts import Scene
from vauban.campaign.doubts.scene import Bools, Floats, Ints
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import AttackResult
from vauban.campaign.run.chunk import Chunk, Fate
from vauban.campaign.run.survey import Ground
from vauban.doors import KINDS
from vauban.measure.rate import Rate


@dataclass(frozen=True, eq=False)
class Tally:
    """The rows done so far. Columns (n,) as in `Fate`, `kinds` (n, kinds); `size` and `distance` are inf where there is none.

    Attributes:
        chunks: what the columns were made of, in order.
        groups: the subgroup of each row, as text; None where the data have none.
    """

    chunks: tuple[Chunk, ...]
    row: Ints
    label: Ints
    answer: Ints
    correct: Bools
    eligible: Bools
    attacked: Bools
    broken: Bools
    by: Ints
    distance: Floats
    size: Floats
    first: Ints
    won: Ints
    queries: Ints
    after: Ints
    unverified: Bools
    nonfinite: Bools
    bad_gradient: Bools
    proved: Bools
    taken: Ints
    kinds: Ints
    refused: Ints
    rounded: tuple[bool | None, ...]
    groups: tuple[str, ...] | None
    declined: Bools | None = None

    @property
    def standing(self) -> Bools:
        """Rows of the denominator that withstood every attack."""
        return self.eligible & ~self.broken

    @property
    def robust(self) -> Rate:
        return Rate(int(self.standing.sum()), int(self.eligible.sum()))

    @property
    def certified(self) -> Rate:
        """Rows of the denominator that are proven robust."""
        return Rate(int((self.proved & self.eligible).sum()), int(self.eligible.sum()))

    @property
    def clean(self) -> Rate:
        return Rate(int(self.correct.sum()), len(self.correct))


def tally(ground: Ground, chunks: Sequence[Chunk]) -> Tally:
    """The columns of some finished chunks, in order of their numbers."""
    ordered = tuple(sorted(chunks, key=lambda c: c.number))
    fates = [f for c in ordered for f in c.fates]
    ids = np.array([f.row for f in fates], dtype=np.int64)
    places = np.searchsorted(ground.rows.ids.numpy(), ids)
    groups = ground.rows.groups
    return Tally(
        ordered,
        ids,
        ground.rows.y.numpy()[places],
        ground.answers.numpy()[places],
        ground.correct.numpy()[places],
        _bools(fates, "eligible"),
        _bools(fates, "attacked"),
        _bools(fates, "broken"),
        _ints(fates, "by"),
        np.array([math.inf if f.distance is None else f.distance for f in fates]),
        np.array([math.inf if f.size is None else f.size for f in fates]),
        _ints(fates, "first"),
        _ints(fates, "won"),
        _ints(fates, "queries"),
        _ints(fates, "after"),
        _bools(fates, "unverified"),
        _bools(fates, "nonfinite"),
        _bools(fates, "bad_gradient"),
        _bools(fates, "proved"),
        _ints(fates, "taken"),
        np.array([f.kinds or (0,) * len(KINDS) for f in fates], dtype=np.int64),
        _ints(fates, "refused"),
        tuple(f.rounded for f in fates),
        None if groups is None else tuple(groups[i] for i in places.tolist()),
        _bools(fates, "declined"),
    )


def scene(plan: Plan, siege: Siege, done: Tally, attacks: tuple[AttackResult, ...]) -> Scene:
    """What the doubters see of it."""
    return Scene(
        plan, siege, done.row, done.label, done.answer, done.eligible, done.attacked, done.correct, done.broken, done.distance, done.by,
        done.first, done.queries, attacks, done.robust, int(done.nonfinite.sum()), int(done.bad_gradient.sum()), int(done.unverified.sum()),
    )  # fmt: skip


def _bools(fates: Sequence[Fate], name: str) -> Bools:
    return np.array([getattr(f, name) for f in fates], dtype=np.bool_)


def _ints(fates: Sequence[Fate], name: str) -> Ints:
    return np.array([getattr(f, name) for f in fates], dtype=np.int64)
