"""The rows that are still worth a question, and the attack's state that is narrowed with them."""

from __future__ import annotations

import math
import weakref

import torch
from torch import Tensor

from vauban.doors.oracle.aim import Aim
from vauban.doors.oracle.book import KINDS, Book, Kind
from vauban.geometry import Body, Space, per_row
from vauban.noise import RowNoise

FOREVER = 1 << 62


class Rows:
    """State that goes with rows: tensors whose first dimension is the row, read and set as attributes, narrowed when rows are settled.

    Made by `Oracle.rows`; whatever an attack carries from one step to the next belongs in one.
    """

    def __init__(self, **state: Tensor) -> None:
        self.__dict__.update(state)

    def __getattr__(self, name: str) -> Tensor:
        raise AttributeError(f"no state {name!r} was registered; it has {', '.join(self.__dict__)}")

    def __setattr__(self, name: str, value: Tensor) -> None:
        self.__dict__[name] = value

    def narrow(self, keep: Tensor) -> None:
        """Keep some rows of every tensor."""
        for name, value in self.__dict__.items():
            self.__dict__[name] = value[keep]


class Meter:
    """What each row of a view has spent of one currency. Equal charges to all rows cost one addition of integers."""

    def __init__(self, spent: Tensor, limit: Tensor | None) -> None:
        self._spent, self._limit = spent, limit
        self._all = 0
        self._refresh()

    def _refresh(self) -> None:
        limit = self._limit
        self.room: float = math.inf if limit is None or not len(limit) else int((limit - self._spent).min()) - self._all

    def reset(self, spent: Tensor) -> None:
        """Take over what was spent elsewhere in the meantime."""
        self._spent, self._all = spent, 0
        self._refresh()

    def charge(self, amount: int) -> None:
        """Charge every row the same; the caller has seen that there is room."""
        self._all += amount
        self.room -= amount

    def charge_some(self, rows: Tensor, amount: int) -> None:
        """Charge some rows, once for each time they are named."""
        self._spent = self._spent.index_add(0, rows, torch.full_like(rows, amount))
        self._refresh()

    @property
    def spent(self) -> Tensor:
        return self._spent + self._all

    @property
    def left(self) -> Tensor:
        """What each row may still spend, int64."""
        if self._limit is None:
            return torch.full_like(self._spent, FOREVER)
        return self._limit - self.spent

    def take(self, keep: Tensor) -> Meter:
        return Meter(self.spent[keep], None if self._limit is None else self._limit[keep])


class View:
    """The live rows of one attack: their clean inputs, variable, aim, limits, meters and noise, narrowed together."""

    def __init__(
        self,
        index: Tensor,
        x: Tensor,
        space: Space,
        body: Body,
        aim: Aim,
        queries: Meter,
        gradients: Meter,
        kinds: dict[str, Meter],
        noise: RowNoise,
    ) -> None:
        self.index, self.x, self.aim = index, x, aim
        self.v0 = space.start(x)
        self.body = body
        self._limits: tuple[Tensor, Tensor] | None = None
        self.queries, self.gradients, self.noise = queries, gradients, noise
        self.passes = Meter(torch.zeros_like(index), None)
        self.kinds = kinds
        self.live = torch.ones(len(index), dtype=torch.bool, device=x.device)
        self.whole = len(index) > 0
        self.believed: Rows | None = None
        self._states: weakref.WeakSet[Rows] = weakref.WeakSet()

    def __len__(self) -> int:
        return self.index.shape[0]

    def steepest(self, gradient: Tensor, at: Tensor, size: float | Tensor) -> Tensor:
        """The steepest change of the body, for (..., rows, *shape)."""
        room = None if self.body.p > 1 else (at - self.limits[0], self.limits[1] - at)
        if gradient.ndim == self.v0.ndim:
            return self.body.steepest(gradient, size, room)
        each, inner = gradient.shape[: gradient.ndim - self.v0.ndim + 1], self.v0.shape[1:]
        sizes = size.expand(each).reshape(-1) if isinstance(size, Tensor) else size
        rooms = None if room is None else (room[0].expand_as(gradient).reshape(-1, *inner), room[1].expand_as(gradient).reshape(-1, *inner))
        return self.body.steepest(gradient.reshape(-1, *inner), sizes, rooms).reshape(gradient.shape)

    def last(self, v: Tensor, where: Tensor | None, before: Tensor) -> Tensor:
        """The last of several questions on each row; what there was before where it was not asked."""
        v = v.reshape(-1, *self.v0.shape)[-1]
        if where is None and self.whole:
            return v
        asked = self.live if where is None else self.live & where.reshape(-1, len(self))[-1]
        return torch.where(per_row(asked, v), v, before)

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """The least and greatest value of every feature; made when first asked for."""
        if self._limits is None:
            self._limits = self.body.limits(self.v0)
        return self._limits

    def register(self, state: Rows) -> Rows:
        self._states.add(state)
        return state

    def charge(self, truth: bool, gradients: int, kind: Kind | Tensor) -> bool:
        """Charge every row one question (if the target answers it) and its gradients, if all of them are live and can pay."""
        if not self.whole or (truth and (self.queries.room < 1 or self.gradients.room < gradients)):
            return False
        self.passes.charge(1)
        if truth:
            self.queries.charge(1)
            self.enter(kind, None)
            self.gradients.charge(gradients)
        return True

    def enter(self, kind: Kind | Tensor, rows: Tensor | None) -> None:
        """Enter one question on all rows, or on some, once for each time they are named, in the ledger."""
        if not isinstance(kind, Tensor):
            meter = self.kinds[kind]
            meter.charge(1) if rows is None else meter.charge_some(rows, 1)
            return
        of = kind if rows is None else kind[rows]
        for place, name in enumerate(KINDS):
            some = (of == place).nonzero()[:, 0]
            if len(some):
                self.kinds[name].charge_some(some if rows is None else rows[some], 1)

    def settle(self, rows: Tensor) -> None:
        """These rows (indices into the view) ask nothing more."""
        if rows.shape[0]:
            self.live[rows] = False
            self.whole = False

    def refresh(self, book: Book, done: Tensor | None) -> None:
        """Catch up with the book after another attack ran in between; rows that are `done` ask nothing more."""
        self.queries.reset(book.queries[self.index])
        self.gradients.reset(book.gradients[self.index])
        for kind, meter in self.kinds.items():
            meter.reset(book.kinds[kind][self.index])
        if done is not None:
            self.settle((done[self.index] & self.live).nonzero()[:, 0])

    def can_pay(self, gradients: int) -> Tensor:
        """bool (rows,): live rows with a question left, and as many gradients."""
        return self.live & (self.queries.left >= 1) & (self.gradients.left >= gradients)

    @property
    def rich(self) -> bool:
        """Whether every row is live and has a question left."""
        return self.whole and self.queries.room >= 1

    def narrow(self) -> None:
        """Drop the rows that are settled or can ask nothing more, from the view and from every registered state; never all of them."""
        if self.rich:
            return
        keep = self.can_pay(0).nonzero()[:, 0]
        if not len(keep) or len(keep) == len(self):
            return
        self.index, self.x, self.v0 = self.index[keep], self.x[keep], self.v0[keep]
        self._limits = None if self._limits is None else (self._limits[0][keep], self._limits[1][keep])
        self.aim = self.aim.take(keep)
        self.queries, self.gradients, self.passes = (m.take(keep) for m in (self.queries, self.gradients, self.passes))
        self.kinds = {kind: m.take(keep) for kind, m in self.kinds.items()}
        self.noise = self.noise.take(keep)
        for state in self._states:
            state.narrow(keep)
        self.live = self.live[keep]
        self.whole = True
