"""A plan in plain values, as it is recorded: everything that its numbers depend on, defaults included."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vauban.attacks import Attack
from vauban.attacks.trained import Trained
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.target import DefenceTable, ModelTable, TargetTable
from vauban.campaign.plan import Siege
from vauban.data import Rows, fingerprint
from vauban.target import Surrogate, Target
from vauban.target.around import Worn, worn_by
from vauban.target.surrogates import Own
from vauban.threat import NORMS, Ball, Edits, Features, Goal, Patch, Perturbation
from vauban.user_code import is_code
from vauban.version import __version__


def resolved_of(
    model: FileModel, target: Target, data: Rows, sieges: tuple[Siege, ...], surrogates: Mapping[str, Surrogate]
) -> dict[str, object]:
    """The plan as JSON values: two campaigns with equal ones give equal numbers on one machine."""
    stands = {table.name: _surrogate(table, surrogates[table.name]) for table in model.surrogate}
    return {
        "vauban": __version__,
        "title": model.title,
        "seed": model.seed,
        "target": _target(model.target, target),
        "defences": [_defence(table, worn) for table, worn in zip(model.defence, worn_by(target), strict=True)],
        "data": _data(model, data),
        "surrogates": stands,
        "threats": [_siege(siege, list(table.surrogate or ())) for siege, table in zip(sieges, model.threat, strict=True)],
        "code": _code(model),
        "promises": {name: p.model_dump(exclude_none=True) for name, p in model.promise.items()},
        "run": {"chunk": model.run.chunk, "max_rows": model.run.max_rows, "inputs": model.run.inputs, **_endpoint(model.target, PACE)},
    }


def _code(model: FileModel) -> dict[str, str]:
    """The files of a person's own attacks, by what names them."""
    specs = [a.name for t in model.threat for a in t.attack if is_code(a.name)]
    files = {spec: model.source.base / spec.rpartition(":")[0] for spec in specs}
    return {spec: _digest(file.read_bytes()) for spec, file in files.items() if file.is_file()}


PACE = {"retry", "timeout", "rate", "budget", "cost", "journal"}
"""What is said of an endpoint that no number depends on: a campaign goes on when it is changed."""


def _endpoint(table: TargetTable, keys: set[str], *, without: bool = False) -> dict[str, object]:
    """Some of what is said of an endpoint, or all else; nothing where there is none."""
    if table.http is None:
        return {}
    return {"http": table.http.model_dump(exclude=keys) if without else table.http.model_dump(include=keys)}


def _target(table: TargetTable, target: Target) -> dict[str, object]:
    facts = {
        "name": target.name,
        "kind": target.kind,
        "access": target.access.name.lower(),
        "reject": target.reject,
        "device": str(target.device),
    }
    return {**table.model_dump(exclude={"http"}), **_endpoint(table, PACE, without=True), **facts, "sha256": target.sha256()}


def _defence(table: DefenceTable, worn: Worn) -> dict[str, object]:
    data = None if table.data is None else table.data.model_dump()
    return {"name": worn.name, "settings": _plain(dict(worn.settings)), "data": data}


def _surrogate(table: ModelTable, surrogate: Surrogate) -> dict[str, object]:
    if isinstance(surrogate, Trained):
        network = "" if surrogate.network is None else surrogate.network.sha256()
        return {**table.model_dump(), "sha256": network, "learnt": fingerprint(surrogate.x, surrogate.y)}
    model = surrogate.model if isinstance(surrogate, Own) else surrogate
    return {**table.model_dump(), "sha256": model.sha256() if isinstance(model, Target) else ""}


def _data(model: FileModel, data: Rows) -> dict[str, object]:
    facts = {
        "rows": len(data),
        "shape": list(data.shape),
        "classes": list(data.classes),
        "bounds": [_plain(data.lo), _plain(data.hi)],
        "kind": data.kind,
        "group": data.group_column,
        "sha256": data.sha256,
    }
    return {**model.data.model_dump(), **facts}


def _siege(siege: Siege, surrogate: list[str]) -> dict[str, object]:
    threat = siege.threat
    return {
        "name": threat.name,
        "access": threat.access.name.lower(),
        "perturbation": _perturbation(threat.perturbation),
        "goal": _goal(threat.goal),
        "queries": _plain(threat.queries),
        "gradients": _plain(threat.gradients),
        "seconds": _plain(threat.seconds),
        "surrogate": surrogate,
        "curve": siege.curve,
        "radii": list(siege.radii),
        "session": siege.session,
        "day": siege.day,
        "samples": None if siege.samples is None else fingerprint(*siege.samples),
        "attacks": [_attack(a) for a in siege.attacks],
    }


def _attack(attack: Attack) -> dict[str, object]:
    return {"name": attack.name, "settings": _plain(dict(attack.settings)), "queries": _plain(attack.queries)}


def _perturbation(perturbation: Perturbation) -> dict[str, object]:
    if isinstance(perturbation, Ball):
        mask = perturbation.mask
        return {"kind": perturbation.kind, "eps": _plain(perturbation.eps), "mask": None if mask is None else _digest(bytes(mask))}
    if isinstance(perturbation, Patch):
        mask = perturbation.mask
        return {"kind": perturbation.kind, "size": list(perturbation.size), "mask": None if mask is None else _digest(bytes(mask))}
    if isinstance(perturbation, Features):
        norm = next(name for name, p in NORMS.items() if p == perturbation.norm)
        columns = [f"{c.name} {c.kind} {c.lo!r} {c.hi!r} {c.change} {c.group} {c.size!r}" for c in perturbation.columns]
        relations = [r.text for r in perturbation.relations]
        told = {"columns": _digest("\n".join(columns).encode()), "relations": relations}
        return {"kind": perturbation.kind, "norm": norm, "eps": _plain(perturbation.eps), **told}
    if isinstance(perturbation, Edits):
        return {"kind": perturbation.kind, "most": perturbation.most, "allowed": perturbation.text()}
    return {"kind": perturbation.kind, "rotation": perturbation.rotation, "translation": perturbation.translation}


def _goal(goal: Goal) -> dict[str, object]:
    wanted = _digest(",".join(map(str, goal.wanted)).encode()) if isinstance(goal.wanted, tuple) else goal.wanted
    return {"wanted": wanted, "from": list(goal.sources), "reject_wins": goal.reject_wins}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> Any:
    """A value that JSON has a word for: no limit is None, tuples are lists, paths are text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if value > 0 else str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast("list[object]", value)]
    return value if isinstance(value, str | int | float | bool | None) else str(value) if isinstance(value, Path) else repr(value)
