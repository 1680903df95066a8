"""From what was said about the columns of a table to tensors, and a check that the clean rows keep it."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.errors import BadData, BadPlan
from vauban.geometry.body import Body, float64
from vauban.geometry.features import Tabular
from vauban.geometry.l0 import L0
from vauban.geometry.l1 import L1
from vauban.geometry.l2 import L2
from vauban.geometry.linf import Linf
from vauban.geometry.relations import holds
from vauban.threat.features import Features
from vauban.threat.relations import Expression, columns_of

SCALED: dict[float, type[Body]] = {body.p: body for body in (Linf, L2, L1, L0)}


def tabular_of(allowed: Features, x: Tensor) -> Tabular:
    """The constraints in the type and on the device of rows x (n, features).

    Raises:
        BadPlan: the rows are no vectors of as many features.
    """
    if x.ndim != 2 or x.shape[1] != len(allowed.columns):
        raise BadPlan(f"features: {len(allowed.columns)} are described, and an input has shape {tuple(x.shape[1:])}; describe every column")

    def flags(values: list[bool]) -> Tensor:
        return torch.tensor(values, device=x.device)

    columns = allowed.columns
    scale = x.new_tensor([c.size for c in columns])
    lo, hi = x.new_tensor(allowed.lo), x.new_tensor(allowed.hi)
    mask = flags([c.change != "none" for c in columns])
    few = (r.choices for r in allowed.relations)
    return Tabular(
        allowed.eps,
        lo,
        hi,
        None if bool(mask.all()) else mask,
        inner=SCALED[allowed.norm](allowed.eps, lo / scale, hi / scale),
        scale=scale,
        up=flags([c.change == "up" for c in columns]),
        down=flags([c.change == "down" for c in columns]),
        whole=flags([c.kind != "real" for c in columns]),
        allowed=allowed,
        assigned=_assigned(allowed),
        choices=tuple(c for c in few if c is not None and columns[c[0]].change != "none"),
    )


def _assigned(allowed: Features) -> tuple[tuple[int, Expression], ...]:
    """Which features are computed from others, so that each comes after those it needs: of relations that define one another in a circle, one
    is left out, and only checked."""
    chosen: dict[int, Expression] = {}
    for relation in allowed.relations:
        for place, term in relation.assignments:
            free = allowed.columns[place].change != "none" and not allowed.columns[place].group and place not in chosen
            if free and place not in _needed(columns_of(term), chosen):
                chosen[place] = term
                break
    ordered: list[tuple[int, Expression]] = []
    while chosen:
        ready = next(i for i, term in chosen.items() if not columns_of(term) & chosen.keys())
        ordered.append((ready, chosen.pop(ready)))
    return tuple(ordered)


def _needed(columns: frozenset[int], chosen: dict[int, Expression]) -> frozenset[int]:
    """The features that some are computed from, directly or not, themselves included."""
    found = columns
    while True:
        more = found.union(*(columns_of(chosen[i]) for i in found if i in chosen))
        if more == found:
            return found
        found = more


def check_rows(allowed: Features, x: Tensor, ids: Tensor | None = None) -> None:
    """Clean rows must keep the constraints themselves.

    Raises:
        BadData: a row does not; with its number (its id, where ids are given), the feature or the relation, and what is wrong.
    """
    body = tabular_of(allowed, x)
    broken = body.broken(x, x)
    if bool(broken.any()):
        row, place = (int(i) for i in broken.nonzero()[0])
        raise BadData(f"row {_number(row, ids)}: {_why(allowed, x[row], place)}; correct the row, or the constraint")
    for relation in allowed.relations:
        bad = ~holds(relation.condition, float64(x), body.grains(x))
        if bool(bad.any()):
            row = int(bad.nonzero()[0, 0])
            speaks = sorted(columns_of(relation.condition))
            values = ", ".join(f"{allowed.columns[i].name} = {float(x[row, i]):g}" for i in speaks)
            raise BadData(
                f"row {_number(row, ids)} breaks the relation {relation.text!r} before any attack ({values}; {int(bad.sum())} of {len(x)} rows do); "
                "correct the row, or the relation"
            )


def _number(row: int, ids: Tensor | None) -> int:
    return row if ids is None else int(ids[row])


def _why(allowed: Features, row: Tensor, place: int) -> str:
    column, value = allowed.columns[place], float(row[place])
    if not column.lo <= value <= column.hi:
        return f"feature {column.name!r} = {value:g} is outside its bounds [{column.lo:g}, {column.hi:g}]"
    if value != round(value):
        return f"feature {column.name!r} = {value:g} is not a whole number"
    return (
        f"{int(row[list(allowed.groups[column.group])].sum())} columns of the one-hot group {column.group!r} are 1, and exactly one must be"
    )
