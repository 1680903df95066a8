"""`python -m benchmarks.training --data DIR`: what every way of training costs over plain training, and what whole trainings on MNIST come to.

The net is that of Wong et al. 2020 (two convolutions, two layers, 166,406 parameters). Recipes were chosen on the last 5,000 training rows,
which none of them trains on. Trained models are kept in `.tuning/` and not trained again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.__main__ import RESULTS, about
from benchmarks.comparison import Check
from benchmarks.measure import one_thread
from benchmarks.table import figure, verdict
from benchmarks.world import reference
from vauban.attacks import Attack, pgd
from vauban.attacks.suites import suite
from vauban.defences.training import METHODS, Method, Recipe, Tick, find, harden
from vauban.defences.training.gates import TrainingStopped
from vauban.doors import Oracle
from vauban.errors import VaubanError
from vauban.measure import mcnemar, wilson
from vauban.target import Torch
from vauban.threat import Ball, Threat

Line = dict[str, Any]
Rows = tuple[Tensor, Tensor]
THREAT = Threat("white box", Ball(0.3))
HELD = 5000
"""The last rows of the training set, which are not trained on: epochs and recipes are chosen by them."""
KEPT = Path(__file__).parents[1] / ".tuning"
STEPS = 40
PGD_7 = pgd.bind(steps=7, step=0.36)
ANCHORS = {
    "adversarial": 8.3,
    "fgsm-rs": 2.1,
    "n-fgsm": 2.1,
    "trades": 12.7,
    "mart": 11.8,
    "ibp": 3.2,
    "sabr": 10.8,
    "crown-ibp": 25.7,
    "smooth-adv": 46.9,
}
"""Earlier figures of the same kind, by loops written by hand."""
SETTINGS: dict[str, dict[str, Any]] = {
    "multi-norm": {"l1": 15.0},
    "hat": {"helper_epochs": 1},
    "ensemble-adversarial": {"member_epochs": 1, "members": 1},
}
OF_ENSEMBLES = {"adp", "dverge", "separately", "trs"}
"""They train several models at once, and cost what these cost."""
REJECTING = ("null-class",)
"""They train a column for rejection: the net is given one more."""


@dataclass(frozen=True)
class Spec:
    """A whole training."""

    method: Callable[[], Method]
    attack: Attack
    recipe: Recipe
    threat: Threat = THREAT


SPECS = {
    "pgd-7": Spec(lambda: find("adversarial").bind(), PGD_7, Recipe(8, batch=100, lr=4e-3, weight_decay=0.0, keep="last")),
    "best": Spec(
        lambda: find("adversarial").bind(),
        pgd.bind(steps=10, step=0.25),
        Recipe(12, batch=100, lr=4e-3, weight_decay=0.0, ema=0.998, keep="last"),
        Threat("white box", Ball(0.34)),
    ),
}


def digits(data: Path, split: str, n: int | None = None) -> Rows:
    return reference(data).data("mnist-std", split, n)


def fresh(data: Path, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return reference(data).MnistCNN()


# ---- what a step costs ----------------------------------------------------------------------------------------------------------------


def multipliers(data: Path, names: Sequence[str]) -> list[Line]:
    """The processor time of a step of every method over that of a plain one, with plain steps in between; kept ones are not measured again."""
    kept = KEPT / "training-costs.json"
    known: dict[str, Line] = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in names:
        if name not in known:
            known[name] = multiplier(name, data)
            KEPT.mkdir(exist_ok=True)
            kept.write_text(json.dumps(known))
        print(name, figure(known[name]["cost"]), known[name]["trouble"], flush=True)
    return [known[name] for name in names]


def multiplier(name: str, data: Path) -> Line:
    """What one method costs."""
    x, y = digits(data, "train", 100 * STEPS)
    held = digits(data, "test", 64)
    line: Line = {"kind": "cost", "method": name, "cost": None, "anchor": ANCHORS.get(name), "trouble": ""}
    told: list[Tick] = []
    try:
        method = find(name).bind(**SETTINGS.get(name, {}))
        epochs = 2 if method.facts.prepare else 1  # what is prepared counts with the first
        rows, model = len(x) // (epochs * method.replays), fresh(data)
        if name in REJECTING:
            model = Torch(nn.Sequential(model, nn.ConstantPad1d((0, 1), 0.0)), outputs="logits", reject=10)
        recipe, radius = Recipe(epochs, batch=100, lr=1e-3, ramp=0.0), replace(THREAT, perturbation=Ball(0.1))
        harden(model, (x[:rows], y[:rows]), radius, PGD_7, recipe, method=method, held_out=held, progress=told.append)
    except TrainingStopped:
        pass  # so few steps may well end as a constant predictor: what a step costs is known all the same
    except VaubanError as error:
        return line | {"trouble": str(error)}
    return line | {"cost": [tick.measured.cost for tick in told if tick.measured][-1]}


# ---- whole trainings ------------------------------------------------------------------------------------------------------------------


def trained(name: str, data: Path) -> tuple[nn.Module, Line]:
    """A whole training, or what is kept of it."""
    spec, model = SPECS[name], fresh(data)
    weights, told = KEPT / f"training-{name}.safetensors", KEPT / f"training-{name}.json"
    if weights.is_file() and told.is_file():
        model.load_state_dict(load_file(weights))
        return model.eval(), json.loads(told.read_text())
    x, y = digits(data, "train")
    began, method = time.process_time(), spec.method()
    rows, held = (x[:-HELD], y[:-HELD]), (x[-HELD:], y[-HELD:])
    try:
        result = harden(
            model, rows, spec.threat, spec.attack, spec.recipe, method=method, held_out=held,
            progress=lambda tick: print(name, tick.epoch, tick.measured, flush=True) if tick.measured else None,
        )  # fmt: skip
    except TrainingStopped as error:
        raise SystemExit(f"benchmarks: {name}: {error}") from error
    line = {
        "kind": "training", "name": name, "within": spec.threat.perturbation.eps,
        "method": method.name, "settings": dict(method.settings), "attack": spec.attack.name,
        "attack settings": {k: v for k, v in spec.attack.settings.items() if isinstance(v, int | float)}, "recipe": asdict(spec.recipe),
        "cpu seconds": time.process_time() - began, "cost": result.cost, "epoch": result.best, "held-out": asdict(result.after),
        "notes": list(result.notes), "stopped": result.stopped,
    }  # fmt: skip
    KEPT.mkdir(exist_ok=True)
    save_file({k: t.contiguous() for k, t in model.state_dict().items()}, weights)
    told.write_text(json.dumps(line))
    return model.eval(), line


def standing(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The rows that are classified correctly and that the suite `vauban` does not break, bool (n,)."""
    o = Oracle(Torch(model), x, y, THREAT)
    for attack in suite("vauban", THREAT, tuple(x.shape[1:])):
        attack(o)
    return o.outcome.standing


def whole(data: Path, names: Sequence[str], n: int) -> list[Line]:
    """Every training, its clean accuracy on all test rows, and what stands of the first n of them."""
    x, y = digits(data, "test")
    found: list[Line] = []
    stood: dict[str, Tensor] = {}
    for name in names:
        model, line = trained(name, data)
        with torch.no_grad():
            right = torch.cat([model(part) for part in x.split(500)]).argmax(1) == y
        began = time.process_time()
        stood[name] = standing(model, x[:n], y[:n])
        hits = int(stood[name].sum())
        line |= {
            "clean": float(right.double().mean()),
            "rows": n,
            "robust": hits / n,
            "interval": wilson(hits, n),
            "attack seconds": time.process_time() - began,
        }
        if len(stood) > 1:
            first = next(iter(stood.values()))
            more, less = int((stood[name] & ~first).sum()), int((first & ~stood[name]).sum())
            line |= {"only it": more, "only the first": less, "p": mcnemar(more, less)}
        print(line, flush=True)
        found.append(line)
    return found


def checks(lines: Sequence[Line]) -> list[Check]:
    """The promises of the training chapter."""
    named = {line["name"]: line for line in lines if line["kind"] == "training"}
    costs = {line["method"]: line["cost"] for line in lines if line["kind"] == "cost"}
    found = [Check("training", f"{name}: a step over a plain one", cost) for name, cost in costs.items()]
    base, best = named.get("pgd-7"), named.get("best")
    if base:
        rows = base["rows"]
        found += [
            Check("training", "pgd-7, 8 epochs: time over plain training", base["cost"], 10.0),
            Check("training", "pgd-7, 8 epochs: clean accuracy on 10,000 test rows", base["clean"], 0.982, at_least=True),
            Check("training", f"pgd-7, 8 epochs: of {rows} test rows the suite vauban leaves", base["robust"], 0.84, at_least=True),
        ]
    if base and best:
        found.append(
            Check(
                "training",
                "best: what it leaves, above the upper end of pgd-7's interval",
                best["robust"],
                base["interval"][1],
                at_least=True,
            )
        )
        found.append(Check("training", "best against pgd-7 on the same rows, McNemar's p", best["p"], 0.05))
    return found


# ---- the page -------------------------------------------------------------------------------------------------------------------------

NOTES = """
MNIST, L-infinity within 0.3, the net of Wong et al. 2020 (166,406 parameters), random start of the weights from seed 0. Costs are processor time of
one thread: the median step of a method over the median of plain steps (clean inputs, cross-entropy, the same optimiser) taken in between. Inner loops
have seven steps, trades and hat ten. *Prepared* models, such as hat's helper and the static models of ensemble-adversarial, cost plain epochs
before the first step, which are not in the figure.

Whole trainings see the first 55,000 training rows; epochs and recipes were chosen by the other 5,000, of which 512 are measured after each epoch.
What the suite `vauban` leaves of 500 of the held-out rows chose the recipes; the rate of pgd-7 was 0.002 before,
with which test rows had been looked at (98.10 % clean, 0.876 of 500 rows). Of the first 1,000 test rows, measured before all of them were,
pgd-7 kept 0.889 and best 0.897, which those could not tell apart (p 0.19); neither training was changed after that.
Robust: the share of all of the first n test rows that are classified correctly and that the suite `vauban` does not break; Wilson's 95 % interval.
"""
COSTS = ("method", "over a plain step", "by hand, earlier", "trouble")
TRAININGS = ("training", "method", "attack", "epochs", "lr", "CPU s", "over plain", "kept epoch", "held-out PGD", "clean, 10,000", "n", "robust",
             "interval", "only it stands, only the first", "p")  # fmt: skip


def markdown(lines: Sequence[Line]) -> str:
    run = lines[0]
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items() if k in ("python", "vauban", "torch", "numpy"))
    where = f"{run['cpu']} ({run['cores']} cores, load {run['load']:g} at the start)"
    head = f"Measured {run['date']} on {where}, commit {run['commit']}. {versions}."
    parts = ["# What training costs, and what it comes to", "", head, "", NOTES.strip(), ""]
    for title, head, kind, cells in (
        ("Promises", ("comparison", "what", "measured", "promised", "verdict"), "check", verdict),
        ("Costs", COSTS, "cost", lambda c: [c["method"], figure(c["cost"]), figure(c["anchor"]), c["trouble"]]),
        ("Whole trainings", TRAININGS, "training", _training),
    ):
        rows = [cells(line) for line in lines if line["kind"] == kind]
        if rows:
            parts += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            parts += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    return "\n".join(parts)


def _training(t: Line) -> list[str]:
    attack = f"{t['attack']} " + ", ".join(f"{k} {v:g}" for k, v in t["attack settings"].items() if k in ("steps", "step"))
    recipe, (low, high) = t["recipe"], t["interval"]
    more = "".join(f", {k} {recipe[k]:g}" for k in ("ema", "awp", "shift", "label_smoothing") if recipe[k])
    within = f", within {t['within']:g}" if t["within"] != THREAT.perturbation.eps else ""
    method = " ".join([t["method"], *(f"{k} {v:g}" for k, v in t["settings"].items())]) + more + within
    pair = f"{t['only it']}, {t['only the first']}" if "p" in t else ""
    return [t["name"], method, attack, str(recipe["epochs"]), figure(recipe["lr"]), figure(t["cpu seconds"]), figure(t["cost"]), str(t["epoch"]),
            figure(t["held-out"]["pgd"]), figure(t["clean"], 4), str(t["rows"]), figure(t["robust"]), f"{low:.3f} to {high:.3f}", pair,
            figure(t.get("p"))]  # fmt: skip


def main() -> None:
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description="Costs of training, and whole trainings.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds reference.py and mnist.npz")
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(",") if text else [],
        default=sorted(METHODS.keys() - OF_ENSEMBLES),
        metavar="A,B",
        help="whose cost",
    )
    parser.add_argument(
        "--only", type=lambda text: text.split(",") if text else [], default=list(SPECS), metavar="A,B", help=", ".join(SPECS)
    )
    parser.add_argument("--n", type=int, default=10_000, help="test rows to attack")
    out = RESULTS / f"{datetime.date.today():%Y-%m-%d}-training.jsonl"
    parser.add_argument("--out", type=Path, default=out, metavar="FILE", help="lines of JSON; a page in Markdown goes beside it")
    given = parser.parse_args()
    one_thread()
    lines: list[Line] = [about(), *multipliers(given.data, given.methods), *whole(given.data, given.only, given.n)]
    lines += [check.line() for check in checks(lines)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given.out.with_suffix(".md").write_text(markdown(lines))
    print(markdown(lines))


if __name__ == "__main__":
    main()
