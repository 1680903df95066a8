"""The policy `banking`: the six recommendations for a bank's classifier, asked of a configuration and of the ensemble that is live.

1. adversarial training; 2. binary decisions only; 3. 3 to 5 attempts a session and 10 a device a day; 4. two or three diverse models; 5. monitored
score distributions; 6. rotation every quarter, with other architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vauban.errors import BadGuard
from vauban.guard.config import GuardFile
from vauban.guard.keys import read_keys
from vauban.guard.policy.rule import Held, Ruling
from vauban.guard.quorum.ensemble import Ensemble
from vauban.guard.watch.calibration import read_calibration
from vauban.guard.watch.monitors import monitors_of

RECOMMENDATIONS = {
    1: "adversarial training",
    2: "binary decisions only",
    3: "3 to 5 attempts a session, 10 a device a day",
    4: "2 or 3 diverse models",
    5: "monitored score distributions",
    6: "rotation every quarter",
}
ATTEMPTS = (3, 5)
DEVICE, DAY, QUARTER = 10, 86400.0, 92.0
MODELS = (2, 3)
UNDEFENDED = ("standard",)
"""Ways of training that resist nothing."""


@dataclass(frozen=True)
class Live:
    """What answers now.

    Attributes:
        ensemble: the live one.
        age: days since it went live.
        before: the architecture families of the one before it; None for the first.
        alive: whether the monitors were fed and read lately; None where that is unknown.
    """

    ensemble: Ensemble
    age: float
    before: Sequence[str] | None = None
    alive: bool | None = None


def judge(config: GuardFile, live: Live | None) -> list[Ruling]:
    """Every question that a configuration and the live ensemble can answer."""
    return [*trained(live), *binary(config), *limited(config), *diverse(config, live), *monitored(config, live), *rotated(config, live)]


def trained(live: Live | None) -> list[Ruling]:
    """1: the training record of every live model says that it saw adversarial examples, and what it withstood."""
    if live is None:
        return [Ruling.unable(1, "every live model was trained adversarially, by its signed record", "no ensemble is live")]
    return [_trained(f"{m.model} was trained adversarially, by its signed record", m.evidence) for m in live.ensemble.manifests]


def _trained(asked: str, record: Mapping[str, Any]) -> Ruling:
    record = _part(record, "training")
    method = str(_part(record, "method").get("name", ""))
    if not method:
        return Ruling.unable(
            1, asked, "its manifest holds no training record; sign it with --training FILE.json, which `vauban harden` writes"
        )
    threat, kept = _part(record, "threat"), _part(record, "kept")
    against = f" against {threat['text']}" if "text" in threat else ""
    withstood = f"; {100 * float(kept['pgd']):.0f} % of its held-out rows withstood PGD" if "pgd" in kept else ""
    return Ruling.of(1, asked, method not in UNDEFENDED, f"trained by {method}{against}{withstood}")


def _part(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of a record, empty where there is none."""
    found = record.get(name)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def binary(config: GuardFile) -> list[Ruling]:
    """2: what the guard answers has no place for a score; what a running one really says is probed."""
    told = "the device is told that it was received" if config.session.mode == "two-phase" else "the device is told accept or reject"
    return [Ruling.of(2, "answers have no place for scores", True, f'mode = "{config.session.mode}": {told}')]


def limited(config: GuardFile) -> list[Ruling]:
    """3: what the limits are, and whether a device is more than a name."""
    low, high = ATTEMPTS
    device = config.limits.device
    asked = "a limit per device binds: devices sign with a key"
    found = [
        Ruling.of(3, f"{low} to {high} attempts a session", low <= config.session.attempts <= high, f"attempts = {config.session.attempts}"),
        Ruling.of(
            3, f"at most {DEVICE} attempts a device in any 24 h", device.count <= DEVICE and device.window >= DAY,
            f"{device.count} in {device.window / 3600:g} h",
        ),
    ]  # fmt: skip
    if config.session.device == "signed":
        return [*found, Ruling.of(3, asked, True, 'device = "signed"; whether keys are attested is for the backend to see')]
    return [*found, Ruling.unable(3, asked, 'device = "named": a limit per device is only as good as the ids that backends vouch for')]


def diverse(config: GuardFile, live: Live | None) -> list[Ruling]:
    """4: how many models, of how many families, and what it takes to be accepted."""
    low, high = MODELS
    asked = f"{low} or {high} models of different families"
    if live is None:
        return [Ruling.unable(4, asked, "no ensemble is live")]
    models, families = live.ensemble.manifests, live.ensemble.families
    good = low <= len(models) <= high and len(families) == len(models)
    return [Ruling.of(4, asked, good, f"{len(models)} models: {', '.join(families)}; vote = {config.models.vote}")]


def monitored(config: GuardFile, live: Live | None) -> list[Ruling]:
    """5: scores are watched, and the watch is awake."""
    scores, asked = _followed(config), "the monitors read what was decided"
    if live is None or live.alive is None:
        return [scores, Ruling.unable(5, asked, "the guard's database says nothing of it")]
    if live.alive and scores.held is not Held.HOLDS:
        return [scores, Ruling.unable(5, asked, "no monitor is known to be followed")]
    return [scores, Ruling.of(5, asked, live.alive, "up to date" if live.alive else "decisions wait to be read")]


def _followed(config: GuardFile) -> Ruling:
    """Whether monitors are on, and have what they compare with."""
    watch, asked = config.watch, "score distributions are monitored"
    told = f"monitors = {watch.monitors}, similarity = {watch.similarity}, anomaly = {watch.anomaly}"
    if watch.monitors == "off":
        return Ruling.of(5, asked, False, told)
    if watch.calibration is None:
        return Ruling.unable(5, asked, f"{told}; without a calibration no monitor is followed: run `vauban guard calibrate`")
    try:
        found = monitors_of(read_calibration(config.beside(watch.calibration), read_keys(config.beside(config.keys))))
    except BadGuard as error:
        return Ruling.unable(5, asked, f"{told}; the calibration cannot be read, and without it no monitor is followed: {error}")
    models = [m.name for m in found if m.name.startswith("scores:")]
    if not models:
        return Ruling.of(5, asked, False, f"{told}; the calibration holds the scores of no model: run `vauban guard calibrate` with rows")
    return Ruling.of(5, asked, True, f"{told}; {len(found)} monitors are followed, {len(models)} of score distributions")


def rotated(config: GuardFile, live: Live | None) -> list[Ruling]:
    """6: how old an ensemble may become, how old it is, and whether the last change was to other architectures."""
    found = [Ruling.of(6, f"an ensemble serves at most {QUARTER:g} days", config.models.days <= QUARTER, f"days = {config.models.days:g}")]
    asked, other = "the live ensemble is not older than that", "the last rotation was to other architectures"
    if live is None:
        return [*found, Ruling.unable(6, asked, "no ensemble is live"), Ruling.unable(6, other, "no ensemble is live")]
    found.append(Ruling.of(6, asked, live.age <= min(QUARTER, config.models.days), f"{live.age:.1f} days"))
    if live.before is None:
        return [*found, Ruling.unable(6, other, "it is the first; there was no rotation yet")]
    shared = sorted(set(live.before) & set(live.ensemble.families))
    return [*found, Ruling.of(6, other, not shared, f"{', '.join(live.before)} before, {', '.join(live.ensemble.families)} now")]
