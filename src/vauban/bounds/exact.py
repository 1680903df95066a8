"""Exact answers for small ReLU networks: a mixed-integer program finds an input that breaks a row, or proves that there is none.

Every ReLU that can be on and off inside the ball becomes a binary variable (big-M; Tjeng et al. 2019, arXiv:1711.07356, section 4.1), with the
limits of `vauban.bounds` for M; every other one is linear. One program for each wrong class that linear bounds leave open.

**What a proof is worth.** Where the deployed model adds numbers up, the program gives each sum the room that rounding may take (see
`vauban.bounds.interval`) and on top `TOLERANCE`, ten times what the solver forgives, so that what it calls infeasible is so for the model itself.
That the solver searches correctly is taken on trust. What it calls feasible is asked of the model: only a witness that fools it counts.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vauban.bounds.affine import Sum
from vauban.bounds.bends import Relu
from vauban.bounds.certificate import certify
from vauban.bounds.interval import Interval
from vauban.bounds.limits import Level, limits_of
from vauban.bounds.linear import lowest
from vauban.bounds.network import Network, network_of
from vauban.bounds.ops import Affine, Op, matrix_of
from vauban.bounds.region import INF, Region
from vauban.errors import BadPlan, Unsupported
from vauban.geometry import Body, body_of
from vauban.target import Target
from vauban.threat import Ball

TOLERANCE = 1e-6
"""Room for each sum, relative to the numbers in it: ten times by how much the solver lets a constraint be violated."""
CLEARLY = 1e-4
"""By what share of the largest score a witness is asked to win where one that just wins did not fool the model."""
FIRST_FOUND = 1e9
"""The gap at which the solver stops: any point that satisfies the constraints will do."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What is true of some rows.

    Attributes:
        certified: bool (n,): nothing in the ball is a success.
        broken: bool (n,): `witness` is one, in the ball, asked of the model.
        witness: like the rows (n, *shape): the clean row where there is none.
    """

    certified: Tensor
    broken: Tensor
    witness: Tensor

    @property
    def open(self) -> Tensor:
        """Rows undecided within the time, bool (n,)."""
        return ~self.certified & ~self.broken


def decide(
    target: Target,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    seconds: float = 60.0,
    level: Level = "crown",
    wins: Tensor | None = None,
    rivals: Tensor | None = None,
) -> Decision:
    """Decide for each row whether anything in the ball around it is answered with a class that wins.

    Args:
        target: a PyTorch module (`vauban.target.Torch`) of affine operators and ReLUs: some hundred of these that can be on and off in the ball
            are decided in seconds, more in hours or never.
        x: float (n, *shape), clean rows inside the ball's box.
        y: int64 (n,), true classes.
        ball: an L-infinity ball, box and mask; a box without a ball where eps is inf.
        seconds: wall time for each row; what is not decided by then stays open.
        level: of the limits, as in `certify`. Tighter ones take longer and leave the solver less to do.
        wins: bool (n, classes), as in `certify`.
        rivals: int64 (n, k), the classes to search, in this order; by default all that win, the least bounded first. A row that no witness
            breaks stays open where others remain.

    Raises:
        BadPlan: the ball is not made of planes, or there is no time.
        Unsupported, BadData, BadTarget: as in `certify`; and an operator that is neither affine nor a ReLU.

    >>> from torch import nn
    >>> from vauban.target import Torch
    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> for p, v in zip(model.parameters(), ([[1.0], [-1.0]], [-0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [0.3, 0.0]), strict=True):
    ...     _ = p.data.copy_(torch.tensor(v))  # class 1 where |x - 0.5| > 0.3
    >>> found = decide(Torch(model, outputs="logits"), torch.tensor([[0.5], [0.5]]), torch.tensor([0, 0]), Ball(0.29))
    >>> found.certified.tolist(), decide(Torch(model, outputs="logits"), torch.tensor([[0.5]]), torch.tensor([0]), Ball(0.31)).broken.tolist()
    ([True, True], [True])
    """
    if ball.kind != "linf" and ball.eps < INF:
        raise BadPlan(f"decide: a {ball.kind} ball is not a box; only L-infinity balls are decided exactly")
    if not 0 < seconds < INF:
        raise BadPlan(f"decide: seconds = {seconds:g} must be positive and finite")
    done = certify(target, x, y, ball, level=level, wins=wins)
    network = network_of(target, x)
    body, classes = body_of(ball, x), torch.arange(network.classes, device=x.device)
    winning = (classes != y[:, None]) if wins is None else wins
    certified, broken, witness = done.certified.to(x.device), torch.zeros(len(x), dtype=torch.bool, device=x.device), x.clone()
    for i in (~certified).nonzero()[:, 0].tolist():
        case = Case(target, network, body, x[i : i + 1], int(y[i]), winning[i], level)
        found = case.decided(time.monotonic() + seconds, None if rivals is None else rivals[i].tolist())
        certified[i] = found is CERTAIN
        if isinstance(found, Tensor):
            broken[i], witness[i] = True, found[0]
    return Decision(certified, broken, witness)


class _Certain:
    """The answer that there is no witness."""


CERTAIN = _Certain()
Found = Tensor | _Certain | None
"""A witness (1, *shape), the certainty that there is none, or neither."""


@dataclass(frozen=True, eq=False)
class Case:
    """One row x (1, *shape) of class y, and the classes that win, bool (classes,)."""

    target: Target
    network: Network
    body: Body
    x: Tensor
    y: int
    wins: Tensor
    level: Level

    def decided(self, until: float, rivals: list[int] | None) -> Found:
        """The row's answer by a moment of `time.monotonic`."""
        clean = self._fooling(self.x)
        if clean is not None:
            return clean
        ops, network = self.network.ops, self.network
        eps = torch.full((1,), self.body.eps, dtype=torch.float64, device=network.device)
        region = Region.of(self.body, self.x.to(network.device), eps)
        known = limits_of(ops, region, network.rounding, self.level)
        left = self._left(known, region)
        order = [t for t in (left if rivals is None else rivals) if t in left]
        sure = set(order) == set(left)
        for t in order:
            found = self._class(known, t, until)
            if isinstance(found, Tensor):
                return found
            sure = sure and found is CERTAIN
        return CERTAIN if sure else None

    def _left(self, known: list[Interval], region: Region) -> list[int]:
        """Winning classes that linear bounds do not rule out, the least bounded first."""
        ops, rivals = self.network.ops, self.wins.nonzero()[:, 0].to(self.network.device)
        unit = torch.eye(self.network.classes, dtype=torch.float64, device=self.network.device)
        bound = lowest(ops, known, region, len(ops), (unit[self.y] - unit[rivals])[:, None])[:, 0]
        order = bound.argsort()
        return rivals[order][~(bound[order] > self.network.resolution)].tolist()

    def _class(self, known: list[Interval], t: int, until: float) -> Found:
        """Whether class t can win: first with room for rounding, and where what that finds is no witness, clearly and without."""
        largest = float(known[-1].largest.max())
        for room, ahead in ((1.0, -self.network.resolution), (0.0, CLEARLY * largest)):
            point, impossible = Program(self.network, known, room).solve(t, self.y, ahead, until)
            if impossible:
                return CERTAIN if room else None
            witness = None if point is None else self._fooling(point.to(self.x).view_as(self.x))
            if witness is not None or point is None:
                return witness
        return None

    def _fooling(self, point: Tensor) -> Tensor | None:
        """The point, put inside the ball, if the model answers it with a class that wins."""
        inside = self.body.project(self.x, point, self.body.limits(self.x))
        return inside if bool(self.wins[int(self.target.scores(inside)[0].argmax())]) else None


@dataclass(frozen=True, eq=False)
class Form:
    """A value as the solver sees it: the sum of matrices (features, variables) times variables, by their first column, plus an offset
    (features,), give or take a `room` (features,). float64."""

    parts: dict[int, Tensor]
    offset: Tensor
    room: Tensor


class Program:
    """The mixed-integer program of a network over a region with known limits, for one row. `room`: 1 with room for rounding, 0 without."""

    def __init__(self, network: Network, known: list[Interval], room: float) -> None:
        self.room = room
        self.low: list[Tensor] = []
        self.high: list[Tensor] = []
        self.whole: list[Tensor] = []
        self.rows: list[tuple[list[tuple[int, Tensor]], Tensor, Tensor]] = []
        self.count = 0
        shapes = [network.shape, *(op.shape for op in network.ops)]
        forms = [self._variables(known[0].lo.flatten().cpu(), known[0].hi.flatten().cpu())]
        for at, op in enumerate(network.ops, 1):
            slack = torch.zeros(math.prod(op.shape), dtype=torch.float64) if (s := known[at].slack) is None else s.flatten().cpu()
            below = [(forms[i], shapes[i]) for i in op.inputs]
            if isinstance(op, Relu):
                forms.append(self._relu(op, below[0][0], known[op.inputs[0]], slack))
            else:
                forms.append(_affine(op, below, slack, known[at].largest.flatten().cpu()))
        self.scores = forms[-1]

    def _variables(self, low: Tensor, high: Tensor, *, whole: bool = False) -> Form:
        """New variables between limits (k,), whole numbers or not."""
        first, k = self.count, len(low)
        self.low.append(low)
        self.high.append(high)
        self.whole.append(torch.full((k,), float(whole)))
        self.count += k
        zeros = torch.zeros(k, dtype=torch.float64)
        return Form({first: torch.eye(k, dtype=torch.float64)}, zeros, zeros)

    def _between(self, form: Form, low: Tensor, high: Tensor) -> None:
        """Require low <= form <= high, (features,), whatever the form's room."""
        self.rows.append(([*form.parts.items()], low - form.offset, high - form.offset))

    def _relu(self, op: Relu, form: Form, limits: Interval, slack: Tensor) -> Form:
        """The output of a ReLU as variables, with a whole number for each unit that can be on and off."""
        lo, hi = limits.lo.flatten().cpu(), limits.hi.flatten().cpu()
        out = self._variables(torch.where(lo > 0, lo, lo * op.slope) - slack, torch.where(hi > 0, hi, hi * op.slope) + slack)
        room = self.room * (form.room + slack)
        for units, slope in ((lo >= 0, 1.0), (hi <= 0, op.slope)):
            over = _less(_rows(out, units), _rows(form, units), slope)
            self._between(over, -room[units], room[units])
        open_ = (lo < 0) & (hi > 0)
        on = self._variables(torch.zeros_like(lo[open_]), torch.ones_like(lo[open_]), whole=True)
        a, z, room, far = _rows(out, open_), _rows(form, open_), room[open_], torch.full_like(lo[open_], math.inf)
        low, high, rest = lo[open_], hi[open_], 1 - op.slope
        self._between(_less(a, z, 1.0), -room, far)
        self._between(_less(a, z, op.slope), -room, far)
        self._between(_less(_less(a, z, 1.0), on, rest * low), -far, room - rest * low)  # a <= z - rest low (1 - on)
        self._between(_less(_less(a, z, op.slope), on, rest * high), -far, room)  # a <= slope z + rest high on
        return out

    def solve(self, t: int, y: int, ahead: float, until: float) -> tuple[Tensor | None, bool]:
        """An input (features,) where class t is `ahead` of y, and whether there can be none; neither where time ran out."""
        from scipy import optimize, sparse

        one, other = (_rows(self.scores, torch.tensor([k])) for k in (t, y))
        lead = _less(one, other, 1.0)
        room = self.room * (one.room + other.room)
        rows = [*self.rows, ([*lead.parts.items()], ahead - room - lead.offset, torch.full_like(room, math.inf))]
        left = until - time.monotonic()
        if left <= 0:
            return None, False
        matrix = sparse.vstack([_wide(parts, self.count) for parts, _, _ in rows], format="csr")
        low, high, least, most = map(_joined, ([row[1] for row in rows], [row[2] for row in rows], self.low, self.high))
        said = optimize.milp(
            -_wide(rows[-1][0], self.count).toarray()[0],
            constraints=optimize.LinearConstraint(matrix, low, high),
            integrality=_joined(self.whole),
            bounds=optimize.Bounds(least, most),
            options={"time_limit": left, "mip_rel_gap": FIRST_FOUND},
        )
        return None if said.x is None else torch.from_numpy(said.x[: len(self.low[0])].copy()), said.status == 2


def _affine(op: Op, below: list[tuple[Form, tuple[int, ...]]], slack: Tensor, largest: Tensor) -> Form:
    """An affine operation's output."""
    if isinstance(op, Sum):
        scaled = [_scaled(form, sign) for (form, _), sign in zip(below, op.signs, strict=True)]
        made = scaled[0]
        for form in scaled[1:]:
            made = _less(made, form, -1.0)
        return replace(made, room=torch.stack([form.room for form in scaled]).sum(0) + slack)
    if not isinstance(op, Affine):
        raise Unsupported(f"decide: {op.where} ({type(op).__name__}) is neither affine nor a ReLU, and no exact program of it is known")
    (form, before) = below[0]
    weight, offset = (t.cpu() for t in matrix_of(op, before))
    room = weight.abs() @ form.room + slack + (TOLERANCE * (1 + largest) if op.terms[0] else 0.0)
    return Form({first: weight @ m for first, m in form.parts.items()}, weight @ form.offset + offset, room)


def _rows(form: Form, units: Tensor) -> Form:
    """Some features of a form."""
    return Form({first: m[units] for first, m in form.parts.items()}, form.offset[units], form.room[units])


def _scaled(form: Form, by: float | Tensor) -> Form:
    """A form times a number, or a number for each feature."""
    column = by[:, None] if isinstance(by, Tensor) else by
    return Form({first: m * column for first, m in form.parts.items()}, form.offset * by, form.room)


def _less(one: Form, other: Form, by: float | Tensor) -> Form:
    """One form less a multiple of another; the room is the first one's."""
    rest = _scaled(other, by)
    zero = torch.zeros((), dtype=torch.float64)
    firsts = sorted({*one.parts, *rest.parts})
    return Form({k: one.parts.get(k, zero) - rest.parts.get(k, zero) for k in firsts}, one.offset - rest.offset, one.room)


def _joined(parts: list[Tensor]) -> Any:
    """One array of several vectors; SciPy's classes say in their defaults that they take a number, and take arrays."""
    return torch.cat(parts).numpy()


def _wide(parts: list[tuple[int, Tensor]], columns: int) -> Any:
    """The sparse matrix (features, columns) whose columns from `first` on are those of each part."""
    from scipy import sparse

    rows, cols, values = [], [], []
    for first, m in parts:
        r, c = m.nonzero(as_tuple=True)
        rows.append(r)
        cols.append(c + first)
        values.append(m[r, c])
    size = (len(parts[0][1]), columns)
    return sparse.csr_array((torch.cat(values).numpy(), (torch.cat(rows).numpy(), torch.cat(cols).numpy())), shape=size)
