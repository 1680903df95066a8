"""What a training leaves beside its weights: how they were made, what they withstood on held-out rows, and what that cost."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vauban.campaign.file.hardening import Hardening
from vauban.campaign.record import write_atomically
from vauban.campaign.run.identity import versions
from vauban.defences.training import Hardened
from vauban.threat import Threat

KIND, FORMAT = "vauban training", 1


def record_path(weights: Path) -> Path:
    """Where the record of some weights lies: their name and ".json"."""
    return weights.with_name(f"{weights.name}.json")


def write_record(todo: Hardening, result: Hardened, weights: Path, onnx: Path | None = None) -> Path:
    """Write the record of a training beside its weights; returns where.

    It is JSON with the keys kind ("vauban training"), format, at, model, method, attack, recipe, seeds, threat, rows, before, kept, best, cost,
    seconds, stopped, notes, runs, history, weights, onnx and versions. The files are named with their sha256, so that a reader can tell whether
    the record is about the weights that it holds.
    """
    said = {
        "kind": KIND,
        "format": FORMAT,
        "at": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "model": {"name": todo.target.name, "parameters": todo.target.parameters_count(), "sha256": todo.target.sha256()},
        "method": {"name": todo.method.name, "paper": todo.method.facts.paper, "settings": _plain(todo.method.settings)},
        "attack": {"name": todo.attack.name, "settings": _plain(todo.attack.settings)},
        "recipe": asdict(todo.recipe),
        "seeds": todo.seeds,
        "threat": _threat(todo.threat),
        "rows": {"number": len(todo.rows.y), "sha256": todo.rows.sha256},
        "before": asdict(result.before),
        "kept": asdict(result.after),
        "best": result.best,
        "cost": result.cost,
        "seconds": result.seconds,
        "stopped": result.stopped,
        "notes": result.notes,
        "runs": [asdict(run) for run in result.runs],
        "history": [asdict(epoch) for epoch in result.history],
        "weights": _file(weights),
        "onnx": None if onnx is None else _file(onnx),
        "versions": versions(),
    }
    path = record_path(weights)
    write_atomically(path, json.dumps(said, indent=1, default=str) + "\n")
    return path


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, bool | int | float | str | None) else str(value) for name, value in settings.items()}


def _threat(threat: Threat) -> dict[str, Any]:
    allowed = threat.perturbation
    return {"name": threat.name, "norm": allowed.kind, "eps": allowed.eps, "text": f"{allowed.text()}; {threat.goal.text()}"}


def _file(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
