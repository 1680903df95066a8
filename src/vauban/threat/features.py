"""What the attacker may do to a row of a table: which features may change, which way, in what steps, and what must stay true between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vauban.errors import BadPlan, nearest
from vauban.threat.exact import exact, written
from vauban.threat.norms import INF, NORMS, Number, norm_of
from vauban.threat.relations import Relation, read_relation

Kind = Literal["real", "integer", "category"]
Change = Literal["any", "up", "down", "none"]
KINDS: tuple[Kind, ...] = ("real", "integer", "category")
CHANGES: tuple[Change, ...] = ("any", "up", "down", "none")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a table.

    Attributes:
        name: what relations and errors call it.
        lo, hi: the least and the greatest value that it can have.
        kind: "real", "integer" (whole numbers only), or "category": one of the 0/1 columns of a one-hot group.
        change: which way it may change: "any", "up" (never below the clean value), "down", or "none".
        group: the one-hot group of a "category"; exactly one of its columns is 1.
        scale: what counts as a change of size 1; by default the range hi - lo.

    Raises:
        BadPlan: bounds that are empty or have no end, a scale that is not positive, a category without a group or not in [0, 1].

    >>> Feature("age", 18, 100, "integer", "up").size
    82.0
    """

    name: str
    lo: float = 0.0
    hi: float = 1.0
    kind: Kind = "real"
    change: Change = "any"
    group: str = ""
    scale: float | None = None

    def __post_init__(self) -> None:
        for word, value, known in (("kind", self.kind, KINDS), ("change", self.change, CHANGES)):
            if value not in known:
                raise BadPlan(f"feature {self.name!r}: {word} = {value!r} is unknown; {nearest(value, known)}")
        if not (math.isfinite(self.lo) and math.isfinite(self.hi) and self.lo <= self.hi):
            raise BadPlan(f"feature {self.name!r}: bounds [{self.lo:g}, {self.hi:g}] must be two numbers, the least first")
        if self.scale is not None and not 0 < self.scale < INF:
            raise BadPlan(f"feature {self.name!r}: scale = {self.scale:g} must be a positive number")
        if (self.kind == "category") != bool(self.group):
            raise BadPlan(f"feature {self.name!r}: a one-hot column has kind 'category' and a group, and no other feature has a group")
        if self.kind == "category" and (self.lo, self.hi) != (0, 1):
            raise BadPlan(f"feature {self.name!r}: a one-hot column is 0 or 1; its bounds are [{self.lo:g}, {self.hi:g}]")
        if self.kind == "category" and self.change in ("up", "down"):
            raise BadPlan(f"feature {self.name!r}: a one-hot column may change or not; 'up' and 'down' are for numbers")

    @property
    def size(self) -> float:
        """What counts as a change of size 1; 1 where a feature is constant and no scale was given."""
        return float(self.scale if self.scale is not None else (self.hi - self.lo) or 1.0)


@dataclass(frozen=True, slots=True, init=False)
class Features:
    """The rows within distance `eps` of the clean one that could exist: bounds, types, directions and relations hold.

    The distance is an Lp norm of the changes, each divided by the scale of its feature. Only a row that keeps every constraint, lies within eps,
    and is misclassified counts.

    Attributes:
        columns: the features in the order of an input's columns.
        eps: the radius in scaled units; inf for no limit.
        norm: inf, 2, 1 or 0, or "linf", "l2", "l1", "l0".
        relations: what must stay true between features, such as "installment <= amount" (see `read_relation`).

    Raises:
        BadPlan: two features of one name, a group of a single column or of which only some may change, a relation that cannot be read, or an
            eps that is not positive.

    >>> allowed = Features([Feature("paid", 0, 100), Feature("owed", 0, 500)], 0.2, relations=["paid <= owed"])
    >>> allowed.text()
    'Linf within 0.2 of scaled features, 1 relation'
    """

    columns: tuple[Feature, ...]
    eps: float
    norm: float
    relations: tuple[Relation, ...]

    def __init__(
        self, columns: Iterable[Feature], eps: Number = INF, norm: float | str = INF, relations: Iterable[str | Relation] = ()
    ) -> None:
        set_ = object.__setattr__
        set_(self, "columns", tuple(columns))
        set_(self, "eps", exact(eps, "eps"))
        set_(self, "norm", norm_of(norm))
        set_(self, "relations", tuple(r if isinstance(r, Relation) else read_relation(r, self.names) for r in relations))
        self._check()

    def _check(self) -> None:
        if not self.columns:
            raise BadPlan("features: there are none; describe the columns of the table")
        twice = [n for i, n in enumerate(self.names) if n in self.names[:i]]
        if twice:
            raise BadPlan(f"features: two are named {twice[0]!r}; give each a name of its own")
        if not self.eps > 0:
            raise BadPlan(f"eps = {written(self.eps)} must be positive")
        if self.norm == 0 and self.eps < 1:
            raise BadPlan(f"eps = {written(self.eps)} changes no feature: an L0 radius counts features and must be at least 1")
        for name, places in self.groups.items():
            if len(places) < 2:
                raise BadPlan(f"one-hot group {name!r} has a single column; a group has at least two")
            if len({self.columns[i].change for i in places}) > 1:
                raise BadPlan(f"one-hot group {name!r}: some of its columns may change and others not; a category changes as a whole")
        if all(c.change == "none" for c in self.columns):
            raise BadPlan("features: none may change; let at least one change")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in order."""
        return tuple(c.name for c in self.columns)

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """The one-hot groups, each with the places of its columns."""
        found: dict[str, tuple[int, ...]] = {}
        for i, c in enumerate(self.columns):
            if c.group:
                found[c.group] = (*found.get(c.group, ()), i)
        return found

    @property
    def kind(self) -> str:
        """Its name among perturbations: "features"."""
        return "features"

    @property
    def lo(self) -> tuple[float, ...]:
        """The least value of each feature."""
        return tuple(float(c.lo) for c in self.columns)

    @property
    def hi(self) -> tuple[float, ...]:
        """The greatest value of each feature."""
        return tuple(float(c.hi) for c in self.columns)

    def within(self, eps: float) -> Features:
        """The same constraints with another radius."""
        return Features(self.columns, eps, self.norm, self.relations)

    def text(self) -> str:
        name = next(name for name, p in NORMS.items() if p == self.norm).replace("l", "L")
        size = "at any size" if self.eps == INF else f"within {written(self.eps)}"
        count = len(self.relations)
        told = f", {count} relation{'s' if count > 1 else ''}" if count else ""
        return f"{name} {size} of scaled features{told}"


def scaled_by(columns: Sequence[Feature], spread: Sequence[float]) -> tuple[Feature, ...]:
    """The features that have no scale of their own, scaled by numbers such as the standard deviations of a table's columns; 0 is left at 1."""
    return tuple(c if c.scale is not None else replace(c, scale=s or 1.0) for c, s in zip(columns, spread, strict=True))
