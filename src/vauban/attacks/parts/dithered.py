"""An oracle whose questions never resemble each other: noise on each, as little as a service that remembers them lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vauban.attacks.parts.slopes import grain
from vauban.doors import KINDS, Aim, Kind, Loss, Oracle
from vauban.geometry import per_row
from vauban.threat import INF

PROJECTION = KINDS.index("projection")
FREE = 0.1
"""The most noise where the threat has no radius, in widths of the box."""
OCTAVES = 8
"""The least noise that is tried is the most over two to this."""
WIDER = 1.5
"""Each further try of a refused question has so many times the noise of the one before it."""

Ask = Callable[[Tensor, Tensor], Tensor]
"""From points (..., n, *shape) and where they are asked, bool (..., n), the answers (..., n) or (..., n, k)."""


class Dithered:
    """What an attack sees of an oracle whose target refuses questions that resemble earlier ones. All else is the oracle's own.

    * Each question is asked about a point near the one it is about, Gaussian noise of the row's own scale away, and legal.
    * A refused one is asked again with other and wider noise, up to `tries` times.
    * A search for the boundary ends at its first refusal: what is left of it is not asked, and counts as not fooling, until the row asks a
      question of another kind. A refusal there says that the points have become too close to tell apart.

    Every question is charged, refused or not. The noise of a row depends on nothing but how many questions the row has asked.

    Args:
        o: the oracle.
        tries: the most often that a refused question is asked again.
    """

    def __init__(self, o: Oracle, tries: int) -> None:
        zero = torch.zeros_like(o.left)
        self._o, self._tries = o, tries
        self._s = o.rows(scale=o.x.new_zeros(len(o)), turn=zero, shut=zero > 0)
        self._answered = zero > 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._o, name)

    def __len__(self) -> int:
        return len(self._o)

    @property
    def scale(self) -> Tensor:
        """The standard deviation of each row's noise, in units of the inputs, (n,)."""
        return self._s.scale

    @property
    def answered(self) -> Tensor:
        """`Oracle.answered`, for the last of the tries of each question."""
        return self._answered

    # ---- before the attack ----------------------------------------------------------------------------------------------------------

    def tune(self, rounds: int, looks: int, refusals: float) -> None:
        """Choose each row's noise: none where the clean input may be asked about again; else the least, by bisection, with which no more than
        a share `refusals` of `looks` questions about the clean input is refused. Costs 1 + `rounds` * `looks` questions at most.
        """
        o, s = self._o, self._s
        most = grain(o) if o.eps < INF else FREE * o.ball.width
        t = o.rows(low=torch.full_like(s.scale, -float(OCTAVES)), high=torch.zeros_like(s.scale), tuned=s.shut)
        for _ in o.steps(1):
            o.submit(o.x)
            t.tuned = o.refused
        for _ in o.steps(rounds):
            if not bool(t.tuned.any()):
                return
            middle = (t.low + t.high) / 2
            s.scale = torch.where(t.tuned, most * middle.exp2(), 0.0)
            where = t.tuned.expand(looks, -1)
            o.submit(self._near(o.x.expand(looks, *o.x.shape), where, 0), where)
            s.turn = s.turn + looks
            bad = o.refused.sum(0) > refusals * looks
            t.low, t.high = torch.where(bad, middle, t.low), torch.where(bad, t.high, middle)
        s.scale = torch.where(t.tuned, most * t.high.exp2(), 0.0)

    # ---- questions ------------------------------------------------------------------------------------------------------------------

    def submit(self, v: Tensor, where: Tensor | None = None) -> None:
        """`Oracle.submit`."""

        def ask(v: Tensor, where: Tensor) -> Tensor:
            self._o.submit(v, where)
            return where

        self._asked(ask, v, where, "check")

    def fooled(self, v: Tensor, where: Tensor | None = None, *, kind: Kind | Tensor = "step") -> Tensor:
        """`Oracle.fooled`."""
        return self._asked(lambda v, where: self._o.fooled(v, where, kind=kind), v, where, kind)

    def score(self, v: Tensor, loss: Loss = Aim.margin, where: Tensor | None = None, *, kind: Kind = "step") -> Tensor:
        """`Oracle.score`."""
        return self._asked(lambda v, where: self._o.score(v, loss, where, kind=kind), v, where, kind)

    def logits(self, v: Tensor, where: Tensor | None = None, *, kind: Kind = "step") -> Tensor:
        """`Oracle.logits`."""
        return self._asked(lambda v, where: self._o.logits(v, where, kind=kind), v, where, kind)

    def _asked(self, ask: Ask, v: Tensor, where: Tensor | None, kind: Kind | Tensor) -> Tensor:
        o, s = self._o, self._s
        lead = v.shape[: v.ndim - o.x.ndim]
        where = torch.ones((*lead, len(o)), dtype=torch.bool, device=v.device) if where is None else where.expand(*lead, -1)
        searching = kind == PROJECTION if isinstance(kind, Tensor) else torch.full_like(s.shut, kind == "projection")
        rows = where.reshape(-1, len(o)).any(0)
        s.shut = s.shut & (searching | ~rows)
        where = where & ~s.shut
        answer, self._answered = ask(self._near(v, where, 0), where), o.answered
        refused = o.refused
        s.shut = s.shut | (refused & searching).reshape(-1, len(o)).any(0)
        again = refused & ~searching & (s.scale > 0)
        for k in range(1, self._tries + 1):
            if not bool(again.any()):
                break
            more, heard = ask(self._near(v, where, k, again), again), o.answered
            answer = torch.where(per_row(heard, answer), more, answer)
            self._answered, again = self._answered | heard, o.refused
        s.turn = s.turn + where.reshape(-1, len(o)).sum(0)
        return answer

    def _near(self, v: Tensor, where: Tensor, k: int, among: Tensor | None = None) -> Tensor:
        """The points that are really asked, for try number k of the questions `where`, bool (*lead, n): of those `among` them."""
        o, s = self._o, self._s
        noisy = (where if among is None else where & among) & (s.scale > 0)
        if not bool(noisy.any()):
            return v
        flat = noisy.reshape(-1, len(o))
        slot = flat.flatten().nonzero()[:, 0]
        rows = slot % len(o)
        nth = where.reshape(-1, len(o)).cumsum(0).flatten()[slot]
        noise = o.noise.fork("dither", k).take(rows).at(s.turn[rows] + nth).normal(*o.x.shape[1:]).to(v)
        moved = v.reshape(-1, *o.x.shape[1:]).index_add(0, slot, noise * per_row(s.scale[rows] * WIDER**k, noise))
        return torch.where(per_row(noisy, v), o.project(moved.view(v.shape)), v)
