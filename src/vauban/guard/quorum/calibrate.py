"""The operating point of a model, and its signed manifest: made by whoever publishes models, from rows that no training has seen."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from vauban.errors import BadData, BadManifest
from vauban.guard.quorum.inspection import inspect
from vauban.guard.quorum.manifest import KIND, Calibration, Errors, Golden, Input, Manifest, Output, manifest_of
from vauban.guard.quorum.model import Floats, Model, session_of
from vauban.guard.quorum.rows import LIVE, Rows
from vauban.guard.quorum.signed import signed, write_document
from vauban.measure.exact import clopper_pearson

LEVEL = 0.95
BAND = 0.01
"""Log-odds between the threshold and the live row nearest above it, at most."""
GOLDEN = 16
"""Golden inputs of a new manifest."""
BATCH = 64


@dataclass(frozen=True)
class Asked:
    """What is said of a model when its manifest is made.

    Attributes:
        name: of the model.
        family: its architecture family.
        live: which class is live.
        kind: of its output.
        mean, std: where the file does not normalise by itself.
        budget: the share of live attempts that may be rejected.
        evidence: of its training.
    """

    name: str
    family: str
    live: int = 0
    kind: Literal["logits", "probabilities", "logit", "probability"] = "logits"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    budget: float = 0.05
    evidence: Mapping[str, Any] | None = None


def sign(path: Path, rows: Rows, asked: Asked, key: Ed25519PrivateKey) -> Manifest:
    """Calibrate the ONNX file at `path` on rows, and write its signed manifest beside it, named like it with ".json".

    Raises:
        BadManifest: the file is none that is served.
        BadData: there are too few live rows for the budget, or attacks are accepted at least as often as live rows.
    """
    content = path.read_bytes()
    inspect(content, str(path))
    session = session_of(content, str(path))
    told = _described(session, asked, str(path))
    model = Model(Manifest.model_construct(model=asked.name, input=told[0], output=told[1]), session)
    scores = scored(model, rows)
    threshold = operating_point(scores[rows.live], asked.budget)
    found = _calibration(scores > threshold, rows, asked.budget)
    told_apart(found.live, found.attacks, str(path))
    value = {
        "format": 1,
        "model": asked.name,
        "file": path.name,
        "sha256": sha256(content).hexdigest(),
        "family": asked.family,
        "input": told[0].model_dump(mode="json"),
        "output": told[1].model_dump(mode="json"),
        "threshold": threshold,
        "calibration": found.model_dump(mode="json"),
        "golden": _golden(model, rows, scores, threshold).model_dump(mode="json"),
        "evidence": dict(asked.evidence or {}),
        "made": now(),
    }
    manifest = manifest_of(value, str(path))
    write_document(path.with_suffix(".json"), signed(KIND, value, key))
    return manifest


def scored(model: Model, rows: Rows) -> Floats:
    """Log-odds of "live" of all rows, float64 (n,)."""
    if not len(rows):
        return np.zeros(0)
    levels = rows.levels(model.manifest.size)
    return np.concatenate([model.scores(levels[i : i + BATCH]) for i in range(0, len(levels), BATCH)])


def operating_point(live: Floats, budget: float) -> float:
    """The highest threshold at which the rejected share of live rows has an exact upper bound (97.5%, one-sided) of at most the budget.

    A score is accepted above the threshold. Rows without a finite score are rejected at any threshold.

    Args:
        live: log-odds of the live rows, (n,).
        budget: in (0, 1).

    Raises:
        BadData: the budget is out of range, there are too few rows, or too many without a score, to promise this.

    >>> scores = np.arange(200.0)
    >>> point = operating_point(scores, 0.05)
    >>> int((scores <= point).sum()), clopper_pearson(3, 200)[1] <= 0.05 < clopper_pearson(4, 200)[1]
    (3, True)
    """
    if not 0 < budget < 1:
        raise BadData(f"the share of live rows that may be rejected must be above 0 and below 1, such as 0.05; it is {budget:g}")
    allowed = allowed_of(len(live), budget)
    if allowed < 0:
        needed = math.ceil(math.log((1 - LEVEL) / 2) / math.log1p(-budget))
        raise BadData(
            f"{len(live)} live rows cannot show that at most {budget:.1%} are rejected, even if none is; {needed} or more are needed"
        )
    order = np.sort(np.where(np.isfinite(live), live, -np.inf))
    first = float(order[allowed])
    if not math.isfinite(first):
        raise BadData(f"{int((~np.isfinite(live)).sum())} of {len(live)} live rows have no finite score; mend the model first")
    below = order[order < first]
    gap = (first - float(below[-1])) / 2 if len(below) and math.isfinite(below[-1]) else BAND
    return first - min(BAND, gap)


def allowed_of(rows: int, budget: float) -> int:
    """How many of so many rows may be wrong, so that the exact upper bound is within the budget; -1 where not even none."""
    wrong = -1
    while wrong + 1 < rows and clopper_pearson(wrong + 1, rows, LEVEL)[1] <= budget:
        wrong += 1
    return wrong


def errors_of(accepted: np.ndarray[Any, np.dtype[np.bool_]], rows: Rows) -> tuple[Errors, dict[str, Errors]]:
    """What was decided wrongly: live rows that were rejected, and attacks that were accepted by their kind."""
    kinds = np.array(rows.kinds)
    live = _errors(~accepted[kinds == LIVE])
    return live, {str(kind): _errors(accepted[kinds == kind]) for kind in sorted(set(rows.kinds) - {LIVE})}


def told_apart(live: Errors, attacks: Mapping[str, Errors], where: str) -> None:
    """Refuse what accepts attacks at least as often as live rows: its classes are most likely taken for one another.

    Args:
        live: live rows, and how many of them were rejected.
        attacks: attacks by their kind, and how many of them were accepted; where there are none, nothing is refused.
        where: what the error calls it.

    Raises:
        BadData: it tells them the wrong way round, or not at all.
    """
    rows, wrong = sum(a.rows for a in attacks.values()), sum(a.wrong for a in attacks.values())
    right = live.rows - live.wrong
    if rows and wrong * live.rows >= right * rows:
        raise BadData(
            f"{where}: accepts {wrong} of {rows} attacks ({wrong / rows:.1%}) and {right} of {live.rows} live rows "
            f"({right / max(1, live.rows):.1%}); check --index, which output is live, --live, and the order of the classes"
        )


def now() -> str:
    """The time, ISO 8601."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _errors(wrong: np.ndarray[Any, np.dtype[np.bool_]]) -> Errors:
    found = int(wrong.sum())
    return Errors(rows=len(wrong), wrong=found, bounds=clopper_pearson(found, len(wrong), LEVEL))


def _calibration(accepted: np.ndarray[Any, np.dtype[np.bool_]], rows: Rows, budget: float) -> Calibration:
    live, attacks = errors_of(accepted, rows)
    return Calibration(budget=budget, level=LEVEL, live=live, attacks=attacks, rows_sha256=rows.sha256)


def _golden(model: Model, rows: Rows, scores: Floats, threshold: float) -> Golden:
    """Rows on both sides of the threshold, the nearest that are clearly on one, and some further out."""
    tolerance = 1e-3
    away = np.abs(scores - threshold)
    usable = np.flatnonzero(np.isfinite(scores) & (away > 11 * tolerance))
    if not len(usable):
        raise BadManifest("no row is clearly on one side of the threshold; the model tells nothing apart")
    near = usable[np.argsort(away[usable], kind="stable")]
    chosen = np.unique(np.concatenate([near[: GOLDEN // 2], near[:: max(1, len(near) // (GOLDEN // 2))][: GOLDEN // 2]]))
    levels = rows.levels(model.manifest.size)[chosen]
    alone = model.scores(levels)
    return Golden(inputs=base64.b64encode(levels.tobytes()).decode(), scores=tuple(map(float, alone)), tolerance=tolerance)


def _described(session: Any, asked: Asked, where: str) -> tuple[Input, Output]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = inputs[0].shape if len(inputs) == 1 else None
    if not shape or len(shape) != 4 or shape[1] not in (1, 3) or not all(isinstance(side, int) for side in shape[2:]):
        raise BadManifest(f"{where}: takes {[(i.name, i.shape) for i in inputs]}; one input (n, 3 or 1, height, width) is served")
    if len(outputs) != 1:
        raise BadManifest(f"{where}: has outputs {', '.join(o.name for o in outputs)}; one is served")
    try:
        fed = Input(name=inputs[0].name, channels=shape[1], height=shape[2], width=shape[3], mean=asked.mean, std=asked.std)
        return fed, Output(name=outputs[0].name, kind=asked.kind, live=asked.live)
    except ValidationError as error:
        first = error.errors()[0]
        said = " ".join((".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, "))).strip()
        raise BadManifest(f"{where}: {said}") from error
