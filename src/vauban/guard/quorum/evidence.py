"""What is known of a model's training: taken from what `vauban harden` wrote beside the weights, and kept in the manifest for the auditor."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from vauban.errors import BadManifest

KIND = "vauban training"
TAKEN = ("at", "method", "attack", "threat", "rows", "before", "kept", "best")


def evidence_of(record: Path, model: Path) -> dict[str, Any]:
    """The parts of a training's record that tell what it was trained against and what it then withstood.

    Raises:
        BadManifest: it is no such record, or about another file than `model`.
    """
    try:
        content = record.read_bytes()
        told = json.loads(content)
    except OSError as error:
        raise BadManifest(f"{record}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BadManifest(f"{record}: is no record of a training; `vauban harden` writes one beside the weights") from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise BadManifest(f"{record}: is no record of a training; `vauban harden` writes one beside the weights")
    exported = told.get("onnx") or {}
    if exported.get("sha256") != sha256(model.read_bytes()).hexdigest():
        raise BadManifest(f"{record}: is not about {model}; `vauban harden --export {model.name}` writes a record that names the file")
    return {"training": {name: told.get(name) for name in TAKEN}, "record_sha256": sha256(content).hexdigest()}
