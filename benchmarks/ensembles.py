"""What a diverse ensemble buys: three networks of different architecture, adversarially trained, one by one and as one, under the joint attack.

    python -m benchmarks --data DIR --only ensembles --out results/ensembles.jsonl

Trained on MNIST, each by itself (`separately`) and on what fools their mean (`adversarial`); both were tried on held-out training rows, and nothing
was chosen on the rows that are reported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

import vauban
from benchmarks.comparison import Check
from benchmarks.hardened import digits
from benchmarks.options import Options
from vauban.attacks import pgd
from vauban.campaign.record import Finding
from vauban.defences import average, unanimous, vote
from vauban.defences.ensembles.together import Together, members_of
from vauban.defences.ensembles.transfer import transfer_matrix
from vauban.defences.training import Recipe, find, harden
from vauban.target import Target, Torch
from vauban.threat import Ball, Threat

NAME = "ensembles"
EPS = 0.2
TRAINED, ROWS = 20_000, 300
RECIPE = Recipe(epochs=6, batch=128, lr=2e-3, ramp=0.5, ema=0.99)
WAYS, MEMBER = ("separately", "adversarial"), "member"
THREAT = Threat("insider", Ball(EPS))


@dataclass(frozen=True)
class Stood:
    """One target: clean rows, and rows that withstood the suite "vauban" and every way of taking its gradients."""

    trained: str
    target: str
    n: int
    clean: float
    robust: float
    low: float
    high: float
    cost: float

    def line(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"kind": "ensembles"} | asdict(self)


def networks() -> list[nn.Module]:
    """Strided convolutions, pooled convolutions, and wide windows with a smooth activation."""
    torch.manual_seed(0)
    strided = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1568, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    pooled = nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 10)
    )
    wide = nn.Sequential(
        nn.Conv2d(1, 24, 7, 3, 2),
        nn.SiLU(),
        nn.Conv2d(24, 48, 3, 2, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(1200, 128),
        nn.SiLU(),
        nn.Linear(128, 10),
    )
    return [strided, pooled, wide]


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Train the three in both ways; judge each, the three as one by every rule, and how examples carry over."""
    told = [trained(way, o) for way in WAYS]
    found = [f for stood, _ in told for f in stood]
    return [*(f.line() for f in found), *(carried for _, carried in told)], checks(found)


def trained(way: str, o: Options) -> tuple[list[Stood], dict[str, Any]]:
    """Three networks trained in one way."""
    ensemble = Together(networks())
    x, y = digits(o.data, "train", 4000 if o.quick else TRAINED)
    whole = Torch(ensemble, outputs="log-probabilities", name=way)
    done = harden(whole, (x, y), THREAT, pgd.bind(steps=4, step=0.5), RECIPE, method=find(way).bind())
    rows = digits(o.data, "test", o.rows(ROWS))
    members = members_of(whole)
    found = [stood(way, f"{MEMBER} {i}", m, rows, done.cost) for i, m in enumerate(members, start=1)]
    found += [stood(way, design.facts.name, design().around(whole), rows, done.cost) for design in (average, vote, unanimous)]
    carried = transfer_matrix(members, *rows, THREAT, pgd.bind(start="clean"))
    return found, {"kind": "transfer", "names": carried.names, "rows": carried.rows, "fooled": carried.fooled}


def stood(way: str, name: str, target: Target, rows: tuple[torch.Tensor, torch.Tensor], cost: float) -> Stood:
    """One target under everything."""
    f: Finding = vauban.audit(target, *rows, THREAT, suite="vauban", doubters=(), curve=False)["insider"]
    return Stood(way, name, f.robust.rows, f.clean.value, f.robust.value, *f.robust.interval, cost)


def checks(found: list[Stood]) -> list[Check]:
    """Each rule against the best member that was trained with it, in points, for the better way; and against the best member of both ways."""
    made: list[Check] = []
    best = max(f.robust for f in found if f.target.startswith(MEMBER))
    for way in WAYS:
        mine = max(f.robust for f in found if f.trained == way and f.target.startswith(MEMBER))
        for f in found:
            if f.trained == way and not f.target.startswith(MEMBER):
                if way == "adversarial":
                    made.append(
                        Check(NAME, f"{way}, {f.target}: points above its best member", 100 * (f.robust - mine), 3.0, at_least=True)
                    )
                made.append(
                    Check(NAME, f"{way}, {f.target}: points above the best member of all", 100 * (f.robust - best), 0.0, at_least=True)
                )
    return made
