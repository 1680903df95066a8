"""From a campaign file about texts to a plan: texts and model loaded, class names made indices, every attack's settings bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vauban.attacks import ATTACKS, Attack
from vauban.attacks.text import TEXT_ATTACKS, TextRecipe, find_text
from vauban.attacks.text.registry import able, check
from vauban.attacks.text.suite import text_suite
from vauban.campaign.file.classes import class_index
from vauban.campaign.file.guests import guests
from vauban.campaign.file.kinds import NUMBER_DATA, NUMBER_TARGET
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.read import settled
from vauban.campaign.file.source import Source
from vauban.campaign.file.threat import AttackTable, GoalTable, ThreatTable
from vauban.campaign.plan import Siege
from vauban.campaign.text.plan import TextPlan, doubled
from vauban.data.texts import Texts, load_texts
from vauban.doors.text import Normalised, TextTarget
from vauban.doors.text.load import load_text_target
from vauban.errors import BadPlan, NotGranted, nearest
from vauban.threat import FAMILIES, Access, Edits, Goal, Threat, exact
from vauban.user_code import find, is_code
from vauban.version import __version__

SUITES = ("vauban", "baselines")
"""Sets of attacks on texts: all that can act under a threat, and of these the ones that optimise nothing."""
MAX_ROWS = 256
"""Texts in one call of the target, where the file says nothing."""


def text_plan_of(model: FileModel, path: str | Path | None = None, *, trust_pickle: bool = False) -> TextPlan:
    """A campaign file about texts with everything in it loaded and bound, ready to run: arguments and errors as of `plan.plan_of`."""
    source, promises = settled(model, path)
    data = _data(model, source)
    target = _target(model, source, data, trust_pickle)
    makers = [_Maker(source, i, target, data) for i in range(len(model.threat))]
    both = model.target.normalised is None
    sieges = tuple(s for maker, table in zip(makers, model.threat, strict=True) for s in maker.sieges(table, both=both))
    return TextPlan(
        title=model.title or f"{target.name} on {data.name}",
        target=target,
        data=data,
        sieges=sieges,
        promises=promises,
        seed=model.seed,
        max_rows=model.run.max_rows or MAX_ROWS,
        keep_inputs=model.run.inputs,
        resolved=_resolved(model, target, data, sieges),
        source=source.path,
    )


def _data(model: FileModel, source: Source) -> Texts:
    table = model.data
    with source.blaming("data"), guests():
        return load_texts(
            table.load, base=source.base, rows=table.rows, seed=model.seed, text=table.text, group=table.group, label=table.label,
            classes=table.classes, split=table.split,
        )  # fmt: skip


def _target(model: FileModel, source: Source, data: Texts, trust_pickle: bool) -> TextTarget:
    table = model.target
    with source.blaming("target"), guests():
        encode = None if table.encode is None else find(table.encode, source.base)
    with source.blaming("target"), guests():  # once more: one file may hold both, and attacks besides
        reject = None if table.reject is None else class_index(table.reject, data.classes, "reject")
        found = load_text_target(
            table.load, encode=encode, weights=table.weights, outputs=table.outputs, access=table.access, reject=reject,
            device=table.device, classes=len(data.classes), trust_pickle=trust_pickle, base=source.base, name=table.name,
        )  # fmt: skip
    return Normalised(found) if table.normalised else found


@dataclass(frozen=True)
class _Maker:
    """Makes the sieges of the threat at one place in the file."""

    source: Source
    place: int
    target: TextTarget
    data: Texts

    def sieges(self, table: ThreatTable, *, both: bool) -> tuple[Siege, ...]:
        """One, or two where the threat is also tried behind the normaliser."""
        with self.source.blaming("threat", self.place):
            threat = self._threat(table)
            named = table.suite or ("" if table.attack else SUITES[0])
            chosen = _suite(named, threat) if named else ()
        own = tuple(self._attack(a, i, threat) for i, a in enumerate(table.attack))
        with self.source.blaming("threat", self.place):
            return tuple(Siege(t, (*chosen, *own), table.curve, session=table.session, day=table.day) for t in doubled([threat], both=both))

    def _threat(self, table: ThreatTable) -> Threat:
        access = self.target.access if table.access is None else Access.parse(table.access)
        if access > self.target.access:
            raise NotGranted(f"access = {table.access!r} is more than the target shows ({self.target.access.name.lower()}); lower it")
        most = int(exact(table.eps or 0))
        edits = Edits(most, table.families or FAMILIES, table.metric, table.protected or (), table.pattern)
        limits = (math.inf if limit is None else limit for limit in (table.queries, table.gradients, table.seconds))
        return Threat(table.name, edits, access, self._goal(table), *limits)

    def _goal(self, table: ThreatTable) -> Goal:
        if not isinstance(table.goal, GoalTable):
            return Goal(reject_wins=table.reject_wins)
        names = self.data.classes
        wanted = class_index(table.goal.wanted, names, "wanted")
        return Goal(wanted, tuple(class_index(c, names, "from") for c in table.goal.sources), table.reject_wins)

    def _attack(self, table: AttackTable, place: int, threat: Threat) -> Attack:
        with self.source.blaming("threat", self.place, "attack", place):
            attack = bound_text_attack(table, self.source.base)
            check(attack, threat)
            if attack.facts.access > threat.access:
                raise NotGranted(
                    f"attack {attack.name!r} needs {attack.facts.access.name.lower()} access, and the threat grants "
                    f"{threat.access.name.lower()}; leave it out, or grant more"
                )
            return attack


def bound_text_attack(table: AttackTable, base: Path = Path()) -> Attack:
    """An attack on texts with its settings, from the registry or from a person's own file.

    Raises:
        BadPlan: no such attack or setting, a value that it cannot have, or an attack that is not for texts.
    """
    found = _own(table.name, base) if is_code(table.name) else _registered(table.name)
    attack = found if isinstance(found, Attack) else found.bind(**table.settings)
    if attack is found and table.settings:
        raise BadPlan(
            f"attack {table.name!r} has its settings chosen already, and {next(iter(table.settings))} is one more; name the attack itself"
        )
    return attack if table.queries is None else attack.spending(table.queries)


def _registered(name: str) -> TextRecipe[...]:
    if name in ATTACKS and name not in TEXT_ATTACKS:
        raise BadPlan(f"attack {name!r} changes numbers and is not for texts; those for texts are {', '.join(sorted(TEXT_ATTACKS))}")
    return find_text(name)


def _own(spec: str, base: Path) -> TextRecipe[...] | Attack:
    with guests():
        found = find(spec, base, BadPlan)
    if not isinstance(found, TextRecipe | Attack):
        raise BadPlan(f"{spec} is {type(found).__name__}, not an attack on texts; put @text_attack(...) over the generator")
    return found


def _suite(name: str, threat: Threat) -> tuple[Attack, ...]:
    if name not in SUITES:
        raise BadPlan(f"suite = {name!r} is none of texts; {nearest(name, SUITES)}")
    found = tuple(a for a in able(text_suite(threat), threat) if name != "baselines" or a.facts.baseline)
    if not found:
        raise BadPlan(f"no attack of the suite {name!r} can act under this threat; grant more access or allow more families of edits")
    return found


def _resolved(model: FileModel, target: TextTarget, data: Texts, sieges: tuple[Siege, ...]) -> dict[str, object]:
    """The plan as JSON values."""
    facts = {"name": target.name, "kind": target.kind, "access": target.access.name.lower(), "sha256": target.sha256()}
    rows = {"rows": len(data), "classes": list(data.classes), "group": data.group_column, "sha256": data.sha256}
    return {
        "vauban": __version__,
        "title": model.title,
        "seed": model.seed,
        "target": {**model.target.model_dump(exclude=set(NUMBER_TARGET)), **facts},
        "data": {**model.data.model_dump(exclude=set(NUMBER_DATA)), **rows},
        "threats": [_told(s) for s in sieges],
        "promises": {name: p.model_dump(exclude_none=True) for name, p in model.promise.items()},
        "run": {"max_rows": model.run.max_rows or MAX_ROWS, "inputs": model.run.inputs},
    }


def _told(siege: Siege) -> dict[str, Any]:
    threat, goal = siege.threat, siege.threat.goal
    limits = {k: v if math.isfinite(v) else None for k, v in (("queries", threat.queries), ("gradients", threat.gradients))}
    return {
        "name": threat.name,
        "access": threat.access.name.lower(),
        "perturbation": {"kind": threat.perturbation.kind, "most": threat.perturbation.eps, "allowed": threat.perturbation.text()},
        "goal": {"wanted": goal.wanted, "from": list(goal.sources), "reject_wins": goal.reject_wins},
        **limits,
        "seconds": threat.seconds if math.isfinite(threat.seconds) else None,
        "curve": siege.curve,
        "session": siege.session,
        "day": siege.day,
        "attacks": [
            {"name": a.name, "settings": dict(a.settings), "queries": a.queries if math.isfinite(a.queries) else None}
            for a in siege.attacks
        ],
    }
