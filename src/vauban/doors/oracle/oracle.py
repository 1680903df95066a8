"""The only door between an attack and its target: it answers, enforces, counts, judges, and keeps the best example of each row."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vauban.bounds import certify
from vauban.bounds.limits import Level
from vauban.doors.oracle.aim import Aim, Loss
from vauban.doors.oracle.belief import believe, no_belief
from vauban.doors.oracle.book import Kind
from vauban.doors.oracle.desk import Batch, Question, Reply, scattered
from vauban.doors.oracle.stage import INF, Stage
from vauban.errors import NotGranted, Unsupported
from vauban.geometry import Body, per_row
from vauban.noise import RowNoise
from vauban.target import Surrogate, Torch
from vauban.target.around import bare
from vauban.threat import Access, Ball


class Oracle(Stage):
    """Target x threat x rows x surrogate: what an attack sees of the world.

    An attack reads `x` (its variable at the clean inputs of the rows that are still live), asks questions, and returns nothing. Between two
    turns of `steps` or `restarts` the settled rows are dropped from `x` and from all state registered with `rows`.

    The arguments are those of `Stage`.
    """

    _last: tuple[torch.Size, Tensor | None, Tensor | None] = (torch.Size(), None, None)

    # ---- what an attack reads -------------------------------------------------------------------------------------------------------

    @property
    def x(self) -> Tensor:
        """The variable at the clean inputs of the live rows (n, *shape): the inputs themselves, for an Lp ball."""
        return self._view.v0

    @property
    def inputs(self) -> Tensor:
        """The clean inputs of the live rows."""
        return self._view.x

    @property
    def ball(self) -> Body:
        """What the variable may be: the threat's ball; without a radius while a minimum-norm attack searches."""
        return self._view.body

    @property
    def aim(self) -> Aim:
        """The goal of the live rows."""
        return self._view.aim

    @property
    def noise(self) -> RowNoise:
        """Random numbers that belong to the live rows."""
        return self._view.noise

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """The least and greatest value of every feature of the live rows."""
        return self._view.limits

    @property
    def eps(self) -> float:
        """The radius that the threat judges by, also while the search has none."""
        return self.space.body.eps

    @property
    def best(self) -> Tensor:
        """The nearest verified example of each live row; the clean variable where there is none."""
        return self.book.best[self._view.index]

    @property
    def distance(self) -> Tensor:
        """Its distance, float64; inf where there is none."""
        return self.book.distance[self._view.index.to(self.book.distance.device)]

    @property
    def nearer(self) -> bool:
        """Whether the present attack is asked for ever nearer examples, of rows that fell too: for a curve, or where no row settles."""
        return self._keeps_broken

    @property
    def left(self) -> Tensor:
        """How many questions each live row may still ask, int64; `FOREVER` where there is no limit."""
        return self._view.queries.left

    @property
    def answered(self) -> Tensor:
        """Which of the questions asked last, bool (..., n), were put to the model and answered: not those of rows that are settled, not wanted or
        out of budget, and not those that the target refused."""
        lead, slot, _ = self._last
        n = len(self._view)
        yes = torch.ones(math.prod(lead) * n, dtype=torch.bool, device=self._view.v0.device)
        if slot is not None:
            yes = torch.zeros_like(yes).index_fill_(0, slot, value=True)
        return yes.view(*lead, n) & ~self.refused

    @property
    def refused(self) -> Tensor:
        """Which of the questions asked last, bool (..., n), the target refused: charged, and without an answer."""
        lead, slot, missing = self._last
        n = len(self._view)
        no = torch.zeros(math.prod(lead) * n, dtype=torch.bool, device=self._view.v0.device)
        if missing is not None:
            no[missing if slot is None else slot[missing]] = True
        return no.view(*lead, n)

    @property
    def undefended(self) -> Surrogate | None:
        """What an attacker that does not know of the target's defences takes gradients from; None where it wears none."""
        return bare(self.target)

    @property
    def ways(self) -> tuple[Surrogate, ...]:
        """Other ways to take gradients of the target that an attacker who knows how it is made would try."""
        return self.target.ways

    def __len__(self) -> int:
        """Rows in view."""
        return len(self._view)

    def project(self, v: Tensor) -> Tensor:
        """The variable, put back into the ball and the box around the clean rows. Takes leading dimensions."""
        return self._view.body.project(self._view.v0, v, self._view.limits)

    def steepest(self, gradient: Tensor, at: Tensor, size: float | Tensor) -> Tensor:
        """The change of norm `size` (one for all, or one a row) that raises a linear function most from the point `at`.

        Where the norm is sparse (L1, L0), it is spent on features that can still move there. Takes leading dimensions.
        """
        return self._view.steepest(gradient, at, size)

    # ---- questions ------------------------------------------------------------------------------------------------------------------

    def submit(self, v: Tensor, where: Tensor | None = None) -> None:
        """Hand in a try; the attacker learns nothing. Charged and judged once. All that access "none" may do."""
        self._ask(Question(v, where, kind="check"))

    def fooled(self, v: Tensor, where: Tensor | None = None, *, kind: Kind | Tensor = "step") -> Tensor:
        """Did it fool the target? bool (..., n); False for rows that are settled or not asked. Needs label access.

        `kind` is one for all, or for each row its own: int64 (n,), places in `KINDS`.
        """
        self._allow(Access.LABEL, "fooled")
        return self._ask(Question(v, where, kind=kind))[0]

    def score(self, v: Tensor, loss: Loss = Aim.margin, where: Tensor | None = None, *, kind: Kind = "step") -> Tensor:
        """The value of an objective, (..., n); -inf for rows that are settled or not asked. Needs score access."""
        self._allow(Access.SCORE, "score")
        return self._ask(Question(v, where, loss, kind=kind))[1]

    def logits(self, v: Tensor, where: Tensor | None = None, *, kind: Kind = "step") -> Tensor:
        """All scores, (..., n, classes); 0 for rows that are settled or not asked. Needs score access."""
        self._allow(Access.SCORE, "logits")
        return self._ask(Question(v, where, _all_scores, (self.classes,), kind=kind))[1]

    def ascend(self, v: Tensor, loss: Loss = Aim.cross_entropy, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The value of an objective, (..., n), and its gradient, (..., n, *shape): -inf and 0 for rows that are settled or not asked.

        With gradient access the target is asked on the way: charged and judged. An attacker that has only a surrogate of its own learns
        the surrogate's value and gradient, and the target is not asked.
        """
        return self._gradient(v, loss, where)[1:]

    def explore(self, v: Tensor, loss: Loss = Aim.cross_entropy, where: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """`ascend`, and whether it fooled the target (as far as the attacker can see: by the surrogate, if that is all it has; then one of the
        points that did is handed in at the end, which costs a question)."""
        fooled, value, gradient = self._gradient(v, loss, where, believe=True)
        return value, gradient, fooled

    def look(self, v: Tensor, loss: Loss | None = None, where: Tensor | None = None) -> Tensor:
        """The value of an objective (..., n), or by default all scores (..., n, classes), where `ascend` would take its gradient.

        With gradient access a question to the target, charged and judged; an attacker that has only a surrogate of its own asks that.
        """
        trailing = (self.classes,) if loss is None else ()
        return self._ask(Question(v, where, loss or _all_scores, trailing, truth=self._asks_target()))[1]

    def conclude(self, v: Tensor, loss: Loss) -> Tensor:
        """Hand in the end of a run and learn what `look` tells about it, with one question to the target where `look` is one."""
        value = self.look(v, loss)
        self.hand_in(v)
        return value

    @property
    def judged(self) -> bool:
        """Whether the target answers where gradients are taken; else the attacker has only a surrogate of its own to go by."""
        return self._asks_target()

    def hand_in(self, v: Tensor, where: Tensor | None = None) -> None:
        """Hand in the best points (n, *shape) of a run, of the rows that `where` marks, bool (n,).

        Nothing is done where the target answered on the way and so judged them already, or where nothing is judged.
        """
        if self._worst is None and not self._asks_target():
            self.submit(v, where)

    def finish(self, v: Tensor) -> None:
        """Hand in the last points (n, *shape) of a search. An attacker that has only a surrogate of its own hands in what that took for a success
        instead, and the last points only of the other rows."""
        self._hand_in_believed()
        seen = self._view.believed
        self.submit(v, None if seen is None else ~seen.handed)

    def blocks(self) -> Iterator[None]:
        """`Stage.blocks`; after each, what is believed is handed in."""
        for _ in super().blocks():
            yield
            self._hand_in_believed()

    def leave(self, done: Tensor) -> None:
        """`Stage.leave`; what is believed of these rows is handed in before."""
        self._hand_in_believed(done)
        super().leave(done)

    def _hand_in_believed(self, where: Tensor | None = None) -> None:
        """Hand in, once, the points that the surrogate alone took for successes, in `explore` and `jacobian`: where the target answers itself, it
        judged them all."""
        seen = self._view.believed
        if seen is None:
            return
        ready = torch.isfinite(seen.distance) & ~seen.handed
        ready = ready if where is None else ready & where
        if bool(ready.any()):
            seen.handed = seen.handed | ready
            self.submit(seen.end, ready)

    def jacobian(self, v: Tensor, loss: Loss | None = None, columns: int = 0, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Several objectives at once, (..., n, k), and their gradients, (..., n, k, *shape): one question and k gradients a row.

        By default all scores; another `loss` gives (m, k) values, and says k = `columns`.
        """
        k = columns if loss is not None else self.classes
        return self._gradient(v, loss or _all_scores, where, (k,), k, believe=True)[1:]

    def _gradient(
        self, v: Tensor, loss: Loss, where: Tensor | None, trailing: tuple[int, ...] = (), count: int = 1, *, believe: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        truth = self._asks_target()
        charged = count * self.surrogate.passes if truth and self.surrogate and self.surrogate.access >= Access.GRADIENT else 0
        return self._ask(Question(v, where, loss, trailing, count, truth, charged, believe, kind="gradient"))

    def _asks_target(self) -> bool:
        """Whether the target answers where a gradient is taken, or only a surrogate of the attacker's own."""
        if self.surrogate is None:
            raise NotGranted(
                f"{self.target.name} has no gradient and no surrogate was given; use an attack that needs less, or give a surrogate"
            )
        if self.surrogate.access > self.threat.access:
            raise NotGranted(f"the gradient asked for needs {self.surrogate.access.name.lower()} access; {self._granted()}")
        return self.threat.access >= Access.GRADIENT and self._worst is None

    def _allow(self, need: Access, question: str) -> None:
        if need > self.threat.access:
            raise NotGranted(f"the question {question!r} needs {need.name.lower()} access; {self._granted()}")

    def _granted(self) -> str:
        return f"threat {self.threat.name!r} grants {self.threat.access.name.lower()}"

    def _ask(self, q: Question) -> tuple[Tensor, Tensor, Tensor]:
        """Ask, charge, judge: (fooled, value, gradient), each blank for rows that are not asked and where it is not wanted."""
        if q.v.requires_grad:
            q = q._replace(v=q.v.detach())
        view = self._view
        lead = q.v.shape[: q.v.ndim - view.v0.ndim]
        if self._worst is not None:
            self._remember(q)
            if q.loss is None:
                return self._blank(q, lead)
            q = q._replace(truth=False) if q.truth else q
        batch = self.desk.batch(view, q)
        self._last = (lead, batch.slot, None)
        if not batch.v.shape[0]:
            return self._blank(q, lead)
        reply = self.desk.run(view, batch, q, self._attempt)
        met = self._judged(batch, reply.z) if q.truth and reply.z is not None else None
        if reply.margin is not None:
            met = reply.margin > 0
            if self._worst is None and not lead:
                seen = view.believed = view.believed or view.register(no_belief(view.v0))
                margin = scattered(batch, reply.margin, view.v0.new_full((len(view),), -INF))
                believe(seen, q.v, self.ball.distance(view.v0, q.v).to(margin), margin, self.eps)
        if q.truth and self.target.refuses:
            reply = self._refused(q, lead, batch, reply)
        if batch.slot is None and reply.value is not None:
            nothing = view.v0.new_zeros(0) if reply.gradient is None else reply.gradient
            return torch.zeros_like(view.live) if met is None else met, reply.value, nothing
        blanks = self._blank(q, lead)
        parts = (met, reply.value, reply.gradient)
        return tuple(scattered(batch, part, blank) for part, blank in zip(parts, blanks, strict=True))  # pyright: ignore[reportReturnType]

    def _refused(self, q: Question, lead: torch.Size, batch: Batch, reply: Reply) -> Reply:
        """The reply, where questions may have stayed unanswered: their values are those of rows that were not asked."""
        missing = self.desk.missing
        if missing is None or not bool(missing.any()):
            return reply
        self._last = (lead, batch.slot, missing)
        if reply.value is None:
            return reply
        return reply._replace(value=torch.where(per_row(missing, reply.value), 0.0 if q.trailing else -INF, reply.value))

    def _remember(self, q: Question) -> None:
        """The last point of each row, which is all that an inner loop of training hands back."""
        view = self._view
        if q.where is None and view.whole and q.v.shape == self._x.shape:
            self._worst = q.v.clone()
        elif self._worst is not None:
            self._worst = self._worst.index_copy(0, view.index, view.last(q.v, q.where, self._worst[view.index]))

    def _judged(self, batch: Batch, z: Tensor) -> Tensor:
        """The verdict on every question asked; rows that are done are settled."""
        view = self._view
        met, newly = self.desk.judge(view, batch, z, self._attempt)
        if newly and not self._keeps_broken:
            view.settle((self.book.broken[view.index] & view.live).nonzero()[:, 0])
        return met

    def _blank(self, q: Question, lead: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        n, like = len(self._view), self._view.v0
        value = like.new_full((*lead, n, *q.trailing), -INF if not q.trailing else 0.0)
        shape = (*lead, n, *q.trailing, *like.shape[1:]) if q.gradients else (0,)
        return torch.zeros((*lead, n), dtype=torch.bool, device=like.device), value, like.new_zeros(shape)

    # ---- proofs ---------------------------------------------------------------------------------------------------------------------

    def certify(self, level: Level = "crown", where: Tensor | None = None) -> Tensor:
        """Ask the referee to prove that nothing the threat allows is a success, for the live rows (of those marked by `where`, bool (n,)).

        Proven rows are settled. Returns a lower bound, float64 (n,), of the lead that the losing classes keep over the whole ball: positive where
        that is the proof, -inf where nothing was asked. `level` is one of `vauban.bounds.certify`. Where nothing can be proven (an operator
        without bounds, a target that is no torch module), no row is, and the attempt says why.
        """
        view, ball = self._view, self.threat.perturbation
        lead = torch.full((len(view),), -INF, dtype=torch.float64, device=self.book.distance.device)
        asked = (view.live if where is None else view.live & where) & ~self.book.broken[view.index]
        rows = asked.nonzero()[:, 0]
        self._attempt.stopped = self._unprovable()
        if self._attempt.stopped or not len(rows) or not isinstance(ball, Ball):
            return lead
        try:
            found = certify(self.target, view.x[rows], view.aim.y[rows], ball, level=level, wins=view.aim.wins[rows])
        except Unsupported as error:
            self._attempt.stopped = f"no bounds: {error}"
            return lead
        lead[rows.to(lead.device)] = found.margin.to(lead.device)
        sure = rows[found.certified.to(rows.device)]
        self.book.proved[view.index[sure]] = True
        self._attempt.proved += len(sure)
        if not self._keeps_broken:
            view.settle(sure)
        return lead

    def _unprovable(self) -> str:
        if self.threat.perturbation.kind not in ("linf", "l2", "l1"):
            return f"no bounds: none are known for {self.threat.perturbation.kind}"
        return "" if isinstance(self.target, Torch) else "no bounds: they are for torch modules"


def _all_scores(aim: Aim, z: Tensor) -> Tensor:
    return z
