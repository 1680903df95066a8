"""Equal numbers of questions for every library: how many inputs fall, after how many questions, and how near the examples come.

One model counts for all sides: every row that reaches it is a question, whatever a library calls it; what comes after the budget does not
count. Sides attack one input at a time, so that nobody's answer hangs on its batch, and each question has an owner.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

from benchmarks.comparison import Check, Ready, Row, Side, find, finite, ratio
from benchmarks.measure import cpu_seconds
from benchmarks.options import Options
from benchmarks.overhead import in_turns
from benchmarks.peers import art, foolbox, torchattacks
from benchmarks.world import World, reference, world
from vauban.attacks import find as attack_named
from vauban.attacks.substitute import train_substitute
from vauban.doors import Oracle
from vauban.target import Surrogate, Torch
from vauban.threat import Access, Ball, Threat

NAME = "blackbox"
SLACK = 1e-5
INF = math.inf


class Asked(nn.Module):
    """The model, with its questions counted: when the first one fooled it within the radius, and how near fooling points came."""

    def __init__(self, model: nn.Module, x: Tensor, y: int, norm: float, eps: float, marks: Sequence[int]) -> None:
        super().__init__()
        self.model, self.x, self.y, self.norm, self.eps, self.marks = model, x, y, norm, eps, marks
        self.count, self.first = 0, INF
        self.nearest = dict.fromkeys(marks, INF)

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        z = self.model(x)
        with torch.no_grad():
            inside = (x.flatten(1).amin(1) >= -SLACK) & (x.flatten(1).amax(1) <= 1 + SLACK)
            size = torch.linalg.vector_norm((x - self.x).flatten(1).double(), ord=self.norm, dim=1)
            for place in ((z.argmax(1) != self.y) & inside).nonzero()[:, 0].tolist():
                number = self.count + place + 1
                if float(size[place]) <= self.eps + SLACK:
                    self.first = min(self.first, number)
                for mark in self.marks:
                    if number <= mark:
                        self.nearest[mark] = min(self.nearest[mark], float(size[place]))
        self.count += len(x)
        return z


@dataclass(frozen=True)
class Searched:
    """What one side did: the share of inputs that fell within the budget, the median of the first winning question (failures as never), questions
    sent for each input, and the median size of the nearest example after so many questions."""

    comparison: str
    model: str
    side: str
    n: int
    budget: int
    success: float = math.nan
    median_first: float | None = None
    sent: float = math.nan
    nearest: dict[int, float] | None = None
    seconds: float = math.nan
    error: str = ""

    def line(self) -> dict[str, Any]:
        values = asdict(self)
        near = {str(k): finite(v) for k, v in (self.nearest or {}).items()}
        return {"kind": "searched"} | {k: finite(v) for k, v in values.items()} | {"nearest": near}


def search(name: str, w: World, side: Side, *, norm: float, eps: float, budget: int, marks: Sequence[int] = ()) -> Searched:
    """Attack each input of the world on its own."""
    firsts: list[float] = []
    sent: list[int] = []
    near: dict[int, list[float]] = {m: [] for m in marks}
    seconds, n = 0.0, min(len(w), side.rows or len(w))
    for i in track(range(n), description=f"{name}: {side.name}", transient=True):
        asked = Asked(copy.deepcopy(w.bare), w.x[i : i + 1], int(w.y[i]), norm, eps, marks).eval()
        one = World(w.name, asked, w.bare, w.x[i : i + 1], w.y[i : i + 1], eps)
        torch.manual_seed(i)
        try:
            strike = side.ready(one)
            asked.count, asked.first, asked.nearest = 0, INF, dict.fromkeys(marks, INF)
            seconds += cpu_seconds(strike)
        except Exception as error:  # a peer that breaks is a finding, and the others go on
            return Searched(name, w.name, side.name, n, budget, error=f"{type(error).__name__}: {str(error).splitlines()[0]}"[:160])
        firsts.append(asked.first if asked.first <= budget else INF)
        sent.append(asked.count)
        for mark in marks:
            near[mark].append(asked.nearest[mark])
    middle = median(firsts)
    return Searched(
        name, w.name, side.name, n, budget, sum(f < INF for f in firsts) / n, None if middle == INF else middle, sum(sent) / n,
        {m: median(v) for m, v in near.items()}, seconds,
    )  # fmt: skip


def ours(
    attack: str, access: Access, norm: float, *, queries: float, nearest: bool = False, surrogate: Surrogate | None = None, **settings: Any
) -> Ready:
    """One attack of Vauban under a budget of questions."""

    def ready(w: World) -> Callable[[], Tensor]:
        target = Torch(w.model, outputs="logits")
        threat = Threat("bench", Ball(w.eps, norm), access=access, queries=queries)
        bound = attack_named(attack).bind(**settings)
        oracle = Oracle(target, w.x, w.y, threat, settle="nearest" if nearest else "first", surrogate=surrogate)
        if isinstance(w.model, Asked):  # the referee's clean question is not the attacker's
            w.model.count, w.model.first = 0, INF

        def strike() -> Tensor:
            bound(oracle)
            return oracle.outcome.best

        return strike

    return ready


def _squares(q: int, own: Surrogate) -> list[Side]:
    same = {"norm": INF, "p_init": 0.8, "nb_restarts": 1, "batch_size": 1, "verbose": False}
    return [
        Side("vauban", ours("square", Access.SCORE, INF, queries=q)),
        Side("vauban with a surrogate", ours("square-transfer", Access.SCORE, INF, queries=q, surrogate=own)),
        Side("vauban signhunter", ours("signhunter", Access.SCORE, INF, queries=q)),
        Side("torchattacks", torchattacks(lambda ta, w: ta.Square(w.model, eps=w.eps, n_queries=q, p_init=0.8, loss="margin"))),
        Side("art", art(lambda ev, c, w: ev.SquareAttack(c, eps=w.eps, max_iter=q, **same))),
    ]


def _simbas(q: int) -> list[Side]:
    same = {"max_iter": q, "epsilon": 0.2, "order": "random", "stride": 1, "batch_size": 1, "verbose": False}
    return [
        Side("vauban", ours("simba", Access.SCORE, 2, queries=q, step=0.2)),
        Side("vauban dct", ours("simba-dct", Access.SCORE, 2, queries=q, step=0.2)),
        Side("art", art(lambda ev, c, _: ev.SimBA(c, attack="px", **same), probabilities=True)),
        Side("art dct", art(lambda ev, c, _: ev.SimBA(c, attack="dct", freq_dim=14, **same), probabilities=True)),
    ]


def _hops(q: int) -> list[Side]:
    return [
        Side("vauban", ours("hop-skip-jump", Access.LABEL, 2, queries=q, nearest=True)),
        Side("foolbox", foolbox(lambda fa: fa.HopSkipJumpAttack(steps=26 if q >= 5000 else 9))),
        Side("art", art(lambda ev, c, w: ev.HopSkipJump(c, norm=2, max_iter=26 if q >= 5000 else 9, init_size=100, batch_size=64, verbose=False))),
    ]  # fmt: skip


def _boundaries(q: int) -> list[Side]:
    return [
        Side("vauban", ours("boundary", Access.LABEL, 2, queries=q, nearest=True)),
        Side("foolbox", foolbox(lambda fa: fa.BoundaryAttack(steps=q))),
        Side("art", art(lambda ev, c, w: ev.BoundaryAttack(c, targeted=False, max_iter=q // 25, batch_size=64, verbose=False))),
    ]  # fmt: skip


def run(o: Options) -> tuple[list[Searched | Row], list[Check]]:
    """Searches by scores on the plainly trained CNN, by labels on the robust one; then what the searches cost over their own passes.

    `--sides square,simba,hop-skip-jump,boundary,cost` picks some.
    """
    n = o.n or (10 if o.quick else 50)
    easy, hard = world(o.data, "mnist-std", n), world(o.data, "mnist-at", min(n, 16))
    easy = World(easy.name, easy.model, easy.bare, easy.x, easy.y, 0.2)
    marks, found = (1000, 5000), []

    def wanted(what: str) -> bool:
        return not o.sides or what in o.sides

    if wanted("square"):
        own = surrogate_of(o, "mnist-std")
        found += [search("square, 500 questions", easy, side, norm=INF, eps=0.2, budget=500) for side in _squares(500, own)]
    if wanted("simba"):
        found += [search("simba, 1000 questions", easy, side, norm=2, eps=3.0, budget=1000) for side in _simbas(1000)]
    if wanted("hop-skip-jump"):
        found += [search("hop-skip-jump", hard, side, norm=2, eps=INF, budget=5000, marks=marks) for side in _hops(5000)]
    if wanted("boundary"):
        found += [search("boundary", hard, side, norm=2, eps=INF, budget=5000, marks=marks) for side in _boundaries(5000)]
    rows = costs(o) if wanted("cost") else []
    return [*found, *rows], [*checks(found), *cost_checks(rows)]


def surrogate_of(o: Options, name: str) -> Surrogate:
    """A small network trained on 5,000 training rows, which the attacker has with their classes; it asks the target nothing."""
    x, y = reference(o.data).data(name, "train", 5000)
    return train_substitute(x, y, epochs=6).surrogate


def costs(o: Options) -> list[Row]:
    """CPU time over the passes made, at batch 64."""
    rows: list[Row] = []
    for model, budget in (("mnist-at", 1000), ("cifar-at", 200)):
        w = world(o.data, model, 64)
        sides = [
            Side("square", vauban_black("square", Access.SCORE, INF, budget, queries=budget)),
            Side("hop-skip-jump", vauban_black("hop-skip-jump", Access.LABEL, 2, budget)),
        ]
        rows += in_turns(f"{NAME} batch 64", w, sides, 1 if o.quick or model == "cifar-at" else 3)[0]
    return rows


def vauban_black(attack: str, access: Access, norm: float, budget: int, **settings: Any) -> Ready:
    """One attack by questions, opening the oracle timed with it."""

    def ready(w: World) -> Callable[[], Tensor]:
        target, bound = Torch(w.model), attack_named(attack).bind(**settings)
        threat = Threat("bench", Ball(w.eps, norm), access=access, queries=budget)

        def strike() -> Tensor:
            oracle = Oracle(target, w.x, w.y, threat)
            bound(oracle)
            return oracle.outcome.best

        return strike

    return ready


def checks(found: Sequence[Searched]) -> list[Check]:
    """Against the best other library of each comparison."""
    out: list[Check] = []
    for name in dict.fromkeys(s.comparison for s in found):
        here = [s for s in found if s.comparison == name and not s.error]
        mine, peers = next((s for s in here if s.side == "vauban"), None), [s for s in here if not s.side.startswith("vauban")]
        if mine is None or not peers:
            continue
        if mine.nearest:
            for mark, size in mine.nearest.items():
                best = min(p.nearest[mark] for p in peers if p.nearest)
                out.append(Check(NAME, f"{name}: median L2 after {mark:,} questions over the best other's", ratio(size, best), 1.0))
            continue
        best_share = max(p.success for p in peers)
        out.append(Check(NAME, f"{name}: success less the best other's", mine.success - best_share, 0.0, at_least=True))
        firsts = [p.median_first for p in peers if p.median_first is not None]
        if firsts:
            out.append(Check(NAME, f"{name}: median first win over the best other's", ratio(mine.median_first, min(firsts)), 1.0))
    for side, most in (("vauban", 60), ("vauban with a surrogate", 45)):
        it = next((s for s in found if s.comparison.startswith("square") and s.side == side), None)
        if it is not None:
            out.append(Check(NAME, f"square on mnist-std, eps 0.2, {side}: median questions", it.median_first, most))
    return out


def cost_checks(rows: Sequence[Row]) -> list[Check]:
    """Total time over that of the passes."""
    promised = {
        ("mnist-at", "square"): 1.3,
        ("mnist-at", "hop-skip-jump"): 2.0,
        ("cifar-at", "square"): 1.1,
        ("cifar-at", "hop-skip-jump"): 1.1,
    }
    out: list[Check] = []
    for (model, side), most in promised.items() if rows else ():
        row = find(rows, model, side)
        out.append(Check(NAME, f"{model}: {side}, time over its passes at batch 64", None if row is None else row.overhead, most))
    return out
