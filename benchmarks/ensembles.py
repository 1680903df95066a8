"""What a diverse ensemble buys: three networks of different architecture, each adversarially trained, one by one and as one, under the joint attack.

    python -m benchmarks --data DIR --only ensembles --out results/ensembles.jsonl

Trained on MNIST by `separately`; nothing was chosen on the rows that are reported.
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
THREAT = Threat("insider", Ball(EPS))


@dataclass(frozen=True)
class Stood:
    """One target: clean rows, rows that withstood the suite "vauban" and every way of taking its gradients, and rows rejected under attack."""

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
    """Strided convolutions, pooled convolutions, and a wide dense network."""
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
    dense = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.Tanh(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    return [strided, pooled, dense]


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Train the three, judge each, the three as one by every rule, and how examples carry over."""
    ensemble = Together(networks())
    x, y = digits(o.data, "train", 4000 if o.quick else TRAINED)
    done = harden(
        Torch(ensemble, outputs="log-probabilities"), (x, y), THREAT, pgd.bind(steps=4, step=0.5), RECIPE, method=find("separately").bind()
    )
    rows = digits(o.data, "test", o.rows(ROWS))
    whole = Torch(ensemble, outputs="log-probabilities", name="three networks")
    members = members_of(whole)
    sides: dict[str, Target] = {m.name: m for m in members}
    sides |= {design.facts.name: design().around(whole) for design in (average, vote, unanimous)}
    found = [stood(name, target, rows, done.cost) for name, target in sides.items()]
    carried = transfer_matrix(members, *rows, THREAT, pgd.bind(start="clean"))
    table = [{"kind": "transfer", "names": carried.names, "rows": carried.rows, "fooled": carried.fooled}]
    return [*(f.line() for f in found), *table], checks(found, len(members))


def stood(name: str, target: Target, rows: tuple[torch.Tensor, torch.Tensor], cost: float) -> Stood:
    """One target under everything."""
    f: Finding = vauban.audit(target, *rows, THREAT, suite="vauban", doubters=(), curve=False)["insider"]
    return Stood(name, f.robust.rows, f.clean.value, f.robust.value, *f.robust.interval, cost)


def checks(found: list[Stood], members: int) -> list[Check]:
    """Each rule against the best member, in points."""
    best = max(f.robust for f in found[:members])
    return [Check(NAME, f"{f.target}: points above the best member", 100 * (f.robust - best), 3.0, at_least=True) for f in found[members:]]
