"""Adversarial examples that another tool made, judged by our own referee: nothing the file claims is believed."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run.survey import by_id
from vauban.campaign.run.verify import Asker
from vauban.data import Rows
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan
from vauban.threat import Access, Transformations, written

Array = np.ndarray[Any, Any]
FEW = 8
"""Rows that fail are named up to this many."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row whose example does not count, and why."""

    row: int
    why: str


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What the examples of a file come to under one threat.

    Attributes:
        threat: its name.
        given: rows in the file.
        set_aside: of those, rows that are not attacked under this threat: misclassified when clean, or not of a source class.
        inside: of the others, rows whose example lies in the box and within the radius, within the referee's tolerance.
        fooled: of those inside, rows whose example fools the target, asked twice.
        worst: the largest distance of an example that is finite, in the threat's norm; None where there is none.
        failures: the first few rows that fail, and how many there are more.
        more: rows that fail beyond those.
        unable: why nothing could be judged; empty where it could.
    """

    threat: str
    given: int
    set_aside: int = 0
    inside: int = 0
    fooled: int = 0
    worst: float | None = None
    failures: tuple[Failure, ...] = ()
    more: int = 0
    unable: str = ""


@dataclass(frozen=True, eq=False)
class Examples:
    """A file's examples: float32 (m, *shape), the data's rows they belong to, and how many labels in the file differ from the data's."""

    x: Tensor
    rows: Rows
    labels_differ: int = 0


def rejudge(plan: Plan, file: Path) -> tuple[Examples, tuple[Rejudged, ...]]:
    """Judge the examples of an archive under every threat of a plan.

    Args:
        plan: the target, the data and the threats; its attacks do nothing here.
        file: .npz with `x_adv` (or `x`), float (m, *shape); `row`, int (m,), the ids of the rows they belong to (by default the first m
            rows in order); and optionally `y`, which is only compared.

    Raises:
        BadData: it cannot be read, an array is missing, or shapes, numbers or row ids do not fit the data.
    """
    examples = read_examples(file, by_id(plan.data))
    return examples, tuple(judged(plan, siege, examples) for siege in plan.sieges)


def read_examples(file: Path, rows: Rows) -> Examples:
    """The examples of an archive with the rows they belong to, in order of row id; nothing is unpickled."""
    arrays = _arrays(file)
    name = next((n for n in ("x_adv", "x") if n in arrays), None)
    if name is None:
        raise BadData(f"{file}: no array x_adv; it has {', '.join(sorted(arrays)) or 'none'}")
    x = arrays[name]
    if x.dtype.kind != "f":
        raise BadData(f"{file}: {name} is {x.dtype}; give floats, in the range that the data have: [{_ends(rows)}]")
    if x.shape[1:] != rows.shape:
        raise BadData(f"{file}: {name} has inputs of shape {x.shape[1:]}, and the data have {rows.shape}; give them alike")
    at = _places(file, arrays.get("row"), len(x), rows)
    order = at.argsort()
    own = rows.take(at[order])
    inputs = torch.from_numpy(np.ascontiguousarray(x.astype(np.float32)))[order]
    return Examples(inputs, own, _differing(file, arrays.get("y"), own, order))


def _arrays(file: Path) -> dict[str, Array]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {n: archive[n] for n in ("x_adv", "x", "row", "y") if n in archive.files}
    except FileNotFoundError as error:
        raise BadData(f"{file}: no such file") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BadData(f"{file}: not an .npz archive of plain arrays: {error}") from error


def _places(file: Path, row: Array | None, count: int, rows: Rows) -> Tensor:
    """Where in the data each example belongs."""
    if count == 0:
        raise BadData(f"{file}: no examples")
    if row is None:
        if count > len(rows):
            raise BadData(f"{file}: {count} examples, and the data have {len(rows)} rows; say in an array `row` which they belong to")
        return torch.arange(count)
    if row.shape != (count,) or row.dtype.kind not in "iu":
        raise BadData(f"{file}: row is {row.dtype} of shape {row.shape} for {count} examples; give one whole number for each")
    ids, wanted = rows.ids, torch.from_numpy(row.astype(np.int64))
    at = torch.searchsorted(ids, wanted).clamp_max(len(ids) - 1)
    unknown = wanted[ids[at] != wanted]
    if len(unknown):
        raise BadData(f"{file}: row {int(unknown[0])} is not among the data; they have ids from {int(ids[0])} to {int(ids[-1])}")
    if len(at.unique()) < len(at):
        twice = wanted[(wanted[:, None] == wanted).sum(1) > 1]
        raise BadData(f"{file}: row {int(twice[0])} is given twice; give one example for each row")
    return at


def _differing(file: Path, y: Array | None, rows: Rows, order: Tensor) -> int:
    if y is None:
        return 0
    if y.shape != (len(rows),) or y.dtype.kind not in "iu":
        raise BadData(f"{file}: y is {y.dtype} of shape {y.shape} for {len(rows)} examples; give one class for each, or leave it out")
    return int((torch.from_numpy(y.astype(np.int64))[order] != rows.y).sum())


def _ends(rows: Rows) -> str:
    low = min(rows.lo) if isinstance(rows.lo, tuple) else rows.lo
    high = max(rows.hi) if isinstance(rows.hi, tuple) else rows.hi
    return f"{low:g}, {high:g}"


# ---- the verdict ----------------------------------------------------------------------------------------------------------------------


def judged(plan: Plan, siege: Siege, examples: Examples) -> Rejudged:
    """Submit the examples to the referee of a threat. A submission is judged and tells nothing, so no access is needed, and no budget."""
    threat, rows = siege.threat, examples.rows
    if isinstance(threat.perturbation, Transformations):
        why = "the threat allows rotations and translations, and whether an input is one of its clean input cannot be seen from the input"
        return Rejudged(threat.name, len(rows), unable=why)
    free = replace(threat, access=Access.NONE, queries=math.inf, gradients=math.inf, seconds=math.inf)
    try:
        oracle = Oracle(plan.target, rows.x, rows.y, free, seed=plan.seed, ids=rows.ids, max_rows=plan.max_rows)
    except BadPlan as error:  # no row of the file can be attacked under this goal
        return Rejudged(threat.name, len(rows), set_aside=len(rows), unable=str(error))
    return _Bench(plan, oracle, examples).verdict()


class _Bench:
    """The referee at work on the examples of a file."""

    def __init__(self, plan: Plan, oracle: Oracle, examples: Examples) -> None:
        self.oracle, self.rows = oracle, examples.rows
        self.finite = torch.isfinite(examples.x).flatten(1).all(1)
        self.x = torch.where(self.finite.view(-1, *[1] * (examples.x.ndim - 1)), examples.x, examples.rows.x)
        self.body = oracle.space.body
        device = plan.target.device
        self.distance = self.body.distance(examples.rows.x.to(device), self.x.to(device)).cpu()
        self.outside = self.body.outside(self.x.to(device), examples.rows.x.to(device)).cpu()
        self.boxed = self.outside <= 1e-7 * self.body.width
        self.near = self.distance <= self.body.eps + self.body.tolerance
        self.asker = Asker(oracle, plan, examples.rows.ids, examples.rows.y)

    def verdict(self) -> Rejudged:
        with self.oracle.attacking("judge", Access.NONE) as attempt:
            tried = attempt.rows.cpu()
            if len(tried):
                self.oracle.submit(self.x[tried].to(self.oracle.target.device))
        outcome = self.oracle.outcome
        again = self.asker.verified(outcome).fools
        attacked, once = outcome.attacked.cpu(), outcome.broken.cpu()
        inside = attacked & self.finite & self.boxed & self.near
        fooled = inside & once & again
        failing = (attacked & ~fooled).nonzero()[:, 0]
        known = self.distance[self.finite]
        return Rejudged(
            self.oracle.threat.name,
            len(self.rows),
            int((~attacked).sum()),
            int(inside.sum()),
            int(fooled.sum()),
            float(known.max()) if len(known) else None,
            tuple(Failure(int(self.rows.ids[i]), self._why(i, bool(once[i]))) for i in failing[:FEW].tolist()),
            max(len(failing) - FEW, 0),
        )

    def _why(self, i: int, once: bool) -> str:
        if not bool(self.finite[i]):
            return "the example is not finite"
        if not bool(self.boxed[i]):
            return f"the example leaves the box, or changes what may not change, by {float(self.outside[i]):.3g}"
        if not bool(self.near[i]):
            return f"its distance {float(self.distance[i]):.6g} is more than eps = {written(self.body.eps)}"
        if once:
            return "it fooled the target once, and not when asked again"
        _, answers = self.asker.fools(self.x, torch.tensor([i]), 1, "why")
        answer, names = int(answers[i]), self.rows.classes
        return f"the target is not fooled: it answers {names[answer] if answer < len(names) else f'class {answer}'}"
