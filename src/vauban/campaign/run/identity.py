"""What makes two campaigns the same: all that their numbers depend on, as one sha256. And what produced a record: versions and git."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vauban.attacks import ATTACKS, Attack
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run.verify import attributes, parts_of
from vauban.data import fingerprint
from vauban.target import Surrogate, Target
from vauban.target.around import worn_by
from vauban.version import __version__

WORDS_ONLY = ("title", "promises", "run")
"""Parts of a written plan that no number depends on, or that are told apart below."""


def identity(plan: Plan, *, keep_inputs: bool) -> dict[str, Any]:
    """All that the numbers of a campaign depend on, in plain values."""
    return {
        "vauban": __version__,
        "settings": {k: v for k, v in plan.resolved.items() if k not in WORDS_ONLY},
        "target": _model(plan.target),
        "data": plan.data.sha256,
        "classes": plan.data.classes,
        "kind": plan.data.kind,
        "threats": [_siege(s) for s in plan.sieges],
        "seed": plan.seed,
        "chunk": plan.chunk,
        "keep_inputs": keep_inputs,
    }


def plan_sha256(found: Mapping[str, Any]) -> str:
    """The sha256 of an identity: of its JSON with sorted keys."""
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=_plain).encode()).hexdigest()


def _siege(siege: Siege) -> dict[str, Any]:
    return {
        "threat": asdict(siege.threat),
        "attacks": [_attack(a) for a in siege.attacks],
        "curve": siege.curve,
        "radii": siege.radii,
        "session": siege.session,
        "day": siege.day,
        "samples": None if siege.samples is None else fingerprint(*siege.samples),
        "surrogate": None if siege.surrogate is None else _model(siege.surrogate),
    }


def _attack(attack: Attack) -> dict[str, Any]:
    known = ATTACKS.get(attack.name)
    code = "" if known is None else _code(known.function)
    return {"name": attack.name, "settings": dict(attack.settings), "queries": attack.queries, "everyone": attack.everyone, "code": code}


def _model(model: Surrogate) -> list[dict[str, Any]]:
    """A target or surrogate with everything inside it: parameters, the files its code is in, and what it was told."""
    return [
        {
            "type": f"{type(m).__module__}.{type(m).__qualname__}",
            "sha256": m.sha256() if isinstance(m, Target) else "",
            "told": _told(m),
            "tensors": [fingerprint(v) for v in attributes(m) if isinstance(v, Tensor)],
            "code": [_code(v) for v in attributes(m) if not isinstance(v, Surrogate | Tensor)],
        }
        for m in parts_of(model)
    ]


def _told(model: Surrogate) -> dict[str, Any]:
    """Its plain settings, without what only turns out while it is made or, of a target, used."""
    if isinstance(model, Target):
        worn = [(w.name, dict(w.settings)) for w in worn_by(model)]
        facts = {"name": model.name, "access": model.access, "reject": model.reject, "randomised": model.randomised}
        return {**facts, "worn": worn} if worn else facts
    return {k: v for k, v in vars(model).items() if isinstance(v, str | int | float) and k != "asked"}


def _code(thing: object) -> str:
    """The sha256 of the file that holds the code of a function, module or estimator; empty where there is none."""
    try:
        file = inspect.getsourcefile(thing if inspect.isroutine(thing) else type(thing))
    except (TypeError, OSError):  # built in, or typed at a prompt: no file
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, Tensor) else str(value)


def versions() -> dict[str, str]:
    """The versions of what a number may depend on."""
    found = {"vauban": __version__, "python": platform.python_version(), "torch": str(torch.__version__), "platform": platform.platform()}
    for name in ("numpy", "scikit-learn", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> str:
    """The commit that a folder stands at, and whether it is clean: "0123abc, clean". Empty outside git."""
    git = shutil.which("git")
    if git is None:
        return ""
    head = _git(git, folder, "rev-parse", "--short", "HEAD")
    if not head:
        return ""
    return f"{head}, {'with changes' if _git(git, folder, 'status', '--porcelain', '--untracked-files=no') else 'clean'}"


def _git(git: str, folder: Path, *words: str) -> str:
    done = subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    return done.stdout.strip() if done.returncode == 0 else ""
