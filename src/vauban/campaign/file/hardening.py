"""From `[harden]` of a campaign file to a training: the module, the rows to train on, the threat, the inner attack and the recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vauban.attacks import Attack
from vauban.campaign.file.apart import check_apart, like
from vauban.campaign.file.attackers import bound_attack, threat_of
from vauban.campaign.file.harden import HardenTable, MethodTable
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.plan import Loader
from vauban.campaign.file.source import Source
from vauban.campaign.file.threat import ThreatTable
from vauban.data import Rows
from vauban.defences.training import Manner, Method, Recipe
from vauban.defences.training import find as registered
from vauban.errors import BadPlan, BadTarget
from vauban.target import Target, Torch
from vauban.target.restricted import Restricted
from vauban.threat import Threat, exact
from vauban.user_code import beside, find, is_code


@dataclass(frozen=True)
class Hardening:
    """A training, ready to run."""

    target: Torch
    rows: Rows
    threat: Threat
    attack: Attack
    recipe: Recipe
    method: Method
    seeds: int = 1


def hardening_of(
    model: FileModel, path: Path, *, epochs: int | None = None, seeds: int | None = None, trust_pickle: bool = False
) -> Hardening:
    """What `[harden]` says, loaded and bound.

    Args:
        epochs, seeds: instead of the file's.

    Raises:
        BadPlan: no rows to train on, no threat to train against, or rows of the audit among the training rows.
        BadTarget: the target is no torch module.
    """
    source = Source(path, model.source.raw, model.source.lines)
    loader, table = Loader(source, trust_pickle), model.harden or HardenTable()
    if table.data is None:
        raise source.told(
            ("harden",), 'no rows to train on; add [harden.data] with load = "...", rows that the audit does not use', inside=False
        )
    audited = loader.data(model.data, model.seed, "data")
    target = _torch(loader.target(model.target, audited.classes), source)
    rows = loader.data(like(table.data, model.data), model.seed, "harden", "data")
    with source.blaming("harden", "data"):
        check_apart(rows, audited)
    place, against = _against(model, table, source)
    with source.blaming(*place):
        threat = threat_of(against, target, audited, source.base)
    with source.blaming("harden", "attack"):
        attack = bound_attack(table.attack, source.base)
    with source.blaming("harden", "method"):
        method = bound_method(table.method, source.base)
    with source.blaming("harden"):
        said: dict[str, Any] = {f.name: getattr(table, f.name) for f in fields(Recipe)}
        seed = model.seed if table.seed is None else table.seed
        said.update(epochs=epochs or table.epochs, seed=seed)
        recipe = Recipe(**said)
    return Hardening(target, rows, threat, attack, recipe, method, seeds or table.seeds)


def bound_method(table: MethodTable, base: Path) -> Method:
    """A way of training with its settings, from the registry or from a person's own file.

    Raises:
        BadPlan: no such method or setting, or a value that it cannot have.
    """
    manner = find(table.name, base, BadPlan) if is_code(table.name) else registered(table.name)
    if not isinstance(manner, Manner):
        raise BadPlan(
            f"{table.name} is {type(manner).__name__}, not a way of training; put @method(...) over the function, from vauban.defences.training"
        )
    return manner.bind(**{name: beside(value, base) for name, value in table.settings.items()})


def _torch(target: Target, source: Source) -> Torch:
    inner = target.target if isinstance(target, Restricted) else target
    if not isinstance(inner, Torch):
        raise source.told(("target", "load"), f"a {inner.kind} target cannot be trained; vauban harden needs a torch module", BadTarget)
    return inner


def _against(model: FileModel, table: HardenTable, source: Source) -> tuple[tuple[str | int, ...], ThreatTable]:
    """The threat to train against, and where it stands in the file."""
    usable = [i for i, t in enumerate(model.threat) if t.name == table.threat or (table.threat is None and _trainable(t))]
    if not usable:
        raise source.told(("harden",), "no threat has a radius and gradients; name one to train against with threat = ...", inside=False)
    changes = {k: v for k, v in (("norm", table.norm), ("eps", table.eps)) if v is not None}
    place = ("harden",) if changes else ("threat", usable[0])
    return place, model.threat[usable[0]].model_copy(update={**changes, "access": None})


def _trainable(table: ThreatTable) -> bool:
    radius = table.eps is None or exact(table.eps) < float("inf")
    return radius and table.access in (None, "gradient")
