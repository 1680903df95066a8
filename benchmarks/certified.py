"""What certified training buys: the share of test rows that sound bounds prove, what that costs, and whether an attack ever contradicts it.

    python -m benchmarks --data DIR --only certified --out results/certified.jsonl

The reference network for MNIST, trained anew; schedules were chosen on held-out training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from benchmarks.comparison import Check
from benchmarks.hardened import Spec, digits, trained
from benchmarks.options import Options
from vauban.attacks.suites import suite
from vauban.bounds import certify
from vauban.defences.training import Recipe
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat

NAME = "certified"
LONG = Recipe(batch=100, weight_decay=0.0)
SPECS = {
    "ibp-0.1": Spec("ibp", 0.1, replace(LONG, epochs=15, ramp=0.4, lr=2e-3), {"widening": 1.4, "kappa": 0.25}),
    "crown-ibp-0.1": Spec("crown-ibp", 0.1, replace(LONG, epochs=15, ramp=0.4, lr=2e-3), {"widening": 1.4, "kappa": 0.25}),
    "ibp-0.3": Spec("ibp", 0.3, replace(LONG, epochs=15, ramp=0.4, lr=2e-3), {"kappa": 0.25}),
}
PROMISED = {"ibp-0.1": 0.94, "ibp-0.3": 0.86}
ATTACKED = 300


@dataclass(frozen=True)
class Certified:
    """One model: shares of n test rows that are right, that intervals certify, and that intervals or CROWN do; and the first `attacked` rows
    under the suite "vauban" without its proofs: the share that withstands, and how many certified rows fell."""

    model: str
    trained: str
    eps: float
    n: int
    clean: float
    interval: float
    certified: float
    attacked: int
    withstood: float
    contradicted: int
    cost: float
    seconds: float

    def line(self) -> dict[str, Any]:
        """For a line of JSON."""
        return {"kind": "certified"} | asdict(self)


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """Train and judge every model."""
    found = [measured(name, SPECS[name], o) for name in o.models or SPECS]
    return [f.line() for f in found], checks(found)


def measured(name: str, spec: Spec, o: Options) -> Certified:
    """One model."""
    target, done, _ = trained(name, spec, o.data)
    x, y = digits(o.data, "test", o.rows(10_000))
    clean = torch.cat([target.labels(part) for part in x.split(500)]) == y
    ball = Ball(spec.eps)
    interval = certify(target, x, y, ball, level="interval").certified
    sure = interval.clone()
    rest = (clean & ~interval).nonzero()[:, 0]
    for part in rest.split(50):
        sure[part] = certify(target, x[part], y[part], ball, level="crown").certified
    some = min(ATTACKED, len(x))
    standing = withstood(target, x[:some], y[:some], spec.eps)
    shares = {k: float(t.double().mean()) for k, t in (("clean", clean), ("interval", interval), ("certified", sure))}
    fell = int((sure[:some] & ~standing).sum())
    told = {"withstood": float(standing.double().mean()), "cost": done.cost, "seconds": round(done.seconds, 1)}
    return Certified(name, spec.text(), spec.eps, len(x), **shares, attacked=some, contradicted=fell, **told)


def withstood(target: Torch, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """Which rows no attack of the suite breaks, bool (n,); nothing is taken for proven."""
    threat = Threat("certified", Ball(eps))
    o = Oracle(target, x, y, threat, seed=0)
    for attack in suite("vauban", threat, tuple(x.shape[1:])):
        if not attack.facts.proof:
            attack(o)
    return o.outcome.standing


def checks(found: Sequence[Certified]) -> list[Check]:
    """Certified shares, a method better than IBP at 0.1, and no certificate contradicted."""
    by = {f.model: f for f in found}
    made = [Check(NAME, f"{f.model}: certified rows that an attack broke", float(f.contradicted), 0.0) for f in found]
    made += [Check(NAME, f"{k}: share certified by intervals", by[k].interval, v, at_least=True) for k, v in PROMISED.items() if k in by]
    if {"ibp-0.1", "crown-ibp-0.1"} <= set(by):
        more = by["crown-ibp-0.1"].certified - by["ibp-0.1"].certified
        made.append(Check(NAME, "share certified with crown-ibp less that with ibp, at 0.1", more, 0.0, at_least=True))
    return made
