"""Which rows are in a set: those that many restarts of PGD and AutoAttack's attacks miss, and that the solver breaks all the same."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.relu_sets.nets import FOLDER, SPECS, digits, trained
from benchmarks.world import World
from vauban.attacks import pgd
from vauban.attacks.suites import suite
from vauban.bounds.exact import decide
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat

NEAR, NEARER = 600, 150
"""Rows that are tried class by class after one ascent, and rows that then get the restarts: those that came nearest."""
RESTARTS = 100
LIKELY = 2
"""Classes that the solver searches for each row: those that ascents came nearest to."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asking:
    """What the solver is asked: about `rows` of a network, the nearest to falling first, for `limit` seconds each, until `enough` are broken."""

    rows: int
    limit: float
    enough: int


@dataclass(frozen=True)
class Search:
    """How a set was found: rows left after each stage; what the solver said of the last ones, of the classes it searched (`LIKELY`).

    `seconds`: CPU time of training, of the attacks, and of the solver.
    """

    net: str
    correct: int
    after_one_ascent: int
    tried_by_class: int
    after_ascents_by_class: int
    tried_by_restarts: int
    after_restarts: int
    after_autoattack: int
    asked: int
    broken: int
    ruled_out: int
    undecided: int
    seconds: tuple[float, float, float]


def hard_set(name: str, data: Path, asking: Asking, say: Say, folder: Path = FOLDER) -> tuple[World, Tensor, Search]:
    """The network with its set, searched for where it is not kept yet, and which test rows they are."""
    model, training = trained(name, data, folder)
    kept, told = folder / f"{name}.rows.safetensors", folder / f"{name}.json"
    if not told.is_file():
        found, search = _searched(name, model, digits(data, "test"), asking, say, training)
        save_file(found, kept)
        told.write_text(json.dumps(asdict(search), indent=1))
    found, line = load_file(kept), json.loads(told.read_text())
    search = Search(**line | {"seconds": tuple(line["seconds"])})
    return World(name, model, model, found["x"], found["y"], SPECS[name].eps), found["index"], search


def _searched(
    name: str, model: nn.Module, test: tuple[Tensor, Tensor], asking: Asking, say: Say, training: float
) -> tuple[dict[str, Tensor], Search]:
    began = time.process_time()
    x, y = test
    with torch.no_grad():
        right = model(x).argmax(1) == y
    threat = Threat(name, Ball(SPECS[name].eps))
    all_right = Rows(model, right.nonzero()[:, 0], x[right], y[right], threat, model(x[right]))
    one = all_right.after(all_right.ascended(None))
    near = one.first(NEAR)
    by_class = near.after(near.ascended_by_class())
    nearer = by_class.first(NEARER)
    restarted = nearer.take(~nearer.missed_by(pgd.bind(steps=40, restarts=RESTARTS)))
    left = restarted.take(~restarted.missed_by(*suite("autoattack", threat, tuple(x.shape[1:]))))
    say(f"{name}: {len(all_right.x)} correct, {len(one.x)}, {len(by_class.x)}, {len(restarted.x)} and {len(left.x)} left")
    attacks = time.process_time() - began
    broken, out, solver = _decided(left.first(asking.rows), asking, lambda text: say(f"{name}: {text}"))
    asked = left.first(len(broken))
    counts = (len(t.x) for t in (all_right, one, near, by_class, nearer, restarted, left, asked))
    search = Search(name, *counts, sum(broken), sum(out), len(broken) - sum(broken) - sum(out), (training, attacks, solver))
    where = torch.tensor(broken, dtype=torch.bool)
    return {"x": asked.x[where].contiguous(), "y": asked.y[where].contiguous(), "index": asked.index[where].contiguous()}, search


def _decided(asked: Rows, asking: Asking, say: Say) -> tuple[list[bool], list[bool], float]:
    """What the solver says of each row: broken, or out of reach for the classes searched; and its CPU seconds."""
    target, ball = Torch(asked.model, outputs="logits"), Ball(asked.threat.perturbation.eps)
    broken: list[bool] = []
    out: list[bool] = []
    began = time.process_time()
    for i in range(len(asked.x)):
        if sum(broken) == asking.enough:
            break
        some, rivals = slice(i, i + 1), asked.lead[i : i + 1].topk(LIKELY).indices
        wins = torch.zeros(1, asked.lead.shape[1], dtype=torch.bool).scatter(1, rivals, value=True)
        start = time.process_time()
        said = decide(target, asked.x[some], asked.y[some], ball, seconds=asking.limit, wins=wins, rivals=rivals)
        broken.append(bool(said.broken[0]))
        out.append(bool(said.certified[0]))
        word = "broken" if broken[-1] else "out of reach" if out[-1] else "undecided"
        say(f"{i + 1}: {float(asked.lead[i].max()):.4f} {word}, {time.process_time() - start:.1f} s; {sum(broken)} so far")
    return broken, out, time.process_time() - began


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that stand, the nearest to falling first.

    `index`: which test rows they are; `lead` (n, classes): the best lead of each class over the true one that was seen.
    """

    model: nn.Module
    index: Tensor
    x: Tensor
    y: Tensor
    threat: Threat
    lead: Tensor

    def take(self, rows: Tensor | slice) -> Rows:
        """Some of them."""
        return Rows(self.model, self.index[rows], self.x[rows], self.y[rows], self.threat, self.lead[rows])

    def first(self, n: int) -> Rows:
        """The nearest n."""
        return self.take(slice(0, n))

    def after(self, lead: Tensor) -> Rows:
        """Those that no class leads in, the nearest first."""
        top = lead.amax(1)
        order = top.argsort(descending=True)
        return replace(self, lead=lead).take(order[top[order] <= 0])

    def missed_by(self, *attacks: object) -> Tensor:
        """Which of them one attack after the other breaks, bool (n,)."""
        o = Oracle(Torch(self.model, outputs="logits"), self.x, self.y, self.threat, ids=self.index)
        for attack in attacks:
            attack(o)  # type: ignore[operator]
        return o.outcome.broken

    def ascended_by_class(self) -> Tensor:
        """The best leads (n, classes) over an ascent towards each class."""
        best = self.lead
        for t in range(self.lead.shape[1]):
            best = torch.maximum(best, self.ascended(torch.full_like(self.y, t)))
        return best

    def ascended(self, goal: Tensor | None, steps: int = 40) -> Tensor:
        """The best leads (n, classes) along one ascent by signs from a random point, towards goals (n,) or whatever class is ahead."""
        return torch.cat([_ascended(self.model, *some, self.threat.perturbation.eps, steps) for some in self._parts(goal)])

    def _parts(self, goal: Tensor | None) -> list[tuple[Tensor, Tensor, Tensor | None]]:
        goals = [None] * len(self.x) if goal is None else goal.split(500)
        return [(x, y, g) for x, y, g in zip(self.x.split(500), self.y.split(500), goals, strict=False)]


def _ascended(model: nn.Module, x: Tensor, y: Tensor, goal: Tensor | None, eps: float, steps: int) -> Tensor:
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    at = low + (high - low) * torch.rand(x.shape, generator=torch.Generator().manual_seed(7))
    best = torch.full((len(x), int(model(x[:1]).shape[1])), -math.inf)
    for i in range(steps + 1):
        leaf = at.requires_grad_()
        z = model(leaf)
        lead = (z - z.gather(1, y[:, None])).scatter(1, y[:, None], -math.inf)
        value = lead.amax(1) if goal is None else z.gather(1, goal[:, None])[:, 0] - z.gather(1, y[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        best = torch.maximum(best, lead.detach())
        size = eps * (1 + math.cos(math.pi * i / steps)) / 2 + eps / 500
        at = torch.min(torch.max(at.detach() + size * gradient.sign(), low), high)
    return best
