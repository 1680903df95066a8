"""The threats of a campaign file with their attacks: goals, perturbations, budgets, suites and settings, all checked against the target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vauban.attacks.registry import Attack, Recipe
from vauban.attacks.registry import find as registered
from vauban.attacks.suites import DEFAULT, can_ask, suite
from vauban.campaign.file.arrays import mask_of, wanted_of_rows
from vauban.campaign.file.classes import class_index
from vauban.campaign.file.features import features_of
from vauban.campaign.file.guests import guests
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.source import Source
from vauban.campaign.file.threat import AttackTable, GoalTable, ThreatTable
from vauban.campaign.owed import completed
from vauban.campaign.plan import Siege
from vauban.data import Rows
from vauban.errors import BadPlan, NotGranted
from vauban.geometry import body_of
from vauban.target import Mean, Surrogate, Target, Trees
from vauban.threat import Access, Ball, Goal, Patch, Perturbation, Threat, Transformations, exact
from vauban.user_code import find, is_code


def sieges_of(
    model: FileModel, source: Source, target: Target, data: Rows, surrogates: Mapping[str, Surrogate], samples: Mapping[int, Rows]
) -> tuple[Siege, ...]:
    """Every `[[threat]]` of a file as a siege; errors name file, line and key. `samples` are the attackers' own inputs, by place."""
    makers = [_Maker(source, i, target, data, surrogates, samples.get(i)) for i in range(len(model.threat))]
    return tuple(maker.siege(table) for maker, table in zip(makers, model.threat, strict=True))


def threat_of(table: ThreatTable, target: Target, data: Rows, base: Path = Path()) -> Threat:
    """A threat in the terms of the target and the data.

    Raises:
        BadPlan: something in it cannot be meant, such as an eps beyond the range of the inputs.
    """
    return Threat(
        table.name,
        _perturbation(table, data, base),
        target.access if table.access is None else Access.parse(table.access),
        _goal(table, target, data, base),
        *(math.inf if limit is None else limit for limit in (table.queries, table.gradients, table.seconds)),
    )


def bound_attack(table: AttackTable, base: Path = Path()) -> Attack:
    """An attack with its settings, from the registry or from a person's own file.

    Raises:
        BadPlan: no such attack or setting, or a value that it cannot have.
    """
    attack = _own_attack(table.name, base) if is_code(table.name) else registered(table.name)
    bound = attack.bind(**table.settings) if isinstance(attack, Recipe) else attack
    if attack is bound and table.settings:
        raise BadPlan(
            f"attack {table.name!r} has its settings chosen already, and {next(iter(table.settings))} is one more; name the attack itself"
        )
    return bound if table.queries is None else bound.spending(table.queries)


@dataclass(frozen=True)
class _Maker:
    """Makes the siege of the threat at one place in the file."""

    source: Source
    place: int
    target: Target
    data: Rows
    surrogates: Mapping[str, Surrogate]
    samples: Rows | None = None

    def siege(self, table: ThreatTable) -> Siege:
        with self.source.blaming("threat", self.place):
            threat = threat_of(table, self.target, self.data, self.source.base)
            surrogate = self._surrogate(table, threat)
            granted = _granted(threat, surrogate)
            named = table.suite or ("" if table.attack else DEFAULT)
            chosen = suite(named, threat, self.data.shape, granted, trees=isinstance(self.target, Trees)) if named else ()
        own = tuple(self._attack(a, i, threat, granted) for i, a in enumerate(table.attack))
        with self.source.blaming("threat", self.place):
            radii = tuple(exact(r, "radii") for r in table.radii)
            samples = None if self.samples is None else (self.samples.x, self.samples.y)
            asked = completed((*chosen, *own), threat, self.target, self.data.shape)
            return Siege(threat, asked, table.curve, surrogate, radii, table.session, table.day, samples)

    def _attack(self, table: AttackTable, place: int, threat: Threat, granted: Access) -> Attack:
        with self.source.blaming("threat", self.place, "attack", place):
            attack = bound_attack(table, self.source.base)
            attack.check(threat, shape=self.data.shape)
            if not can_ask(attack, threat, granted):
                raise NotGranted(
                    f"attack {attack.name!r} needs {attack.facts.access.name.lower()} access, and the threat grants "
                    f"{granted.name.lower()}; leave it out, or grant more"
                )
            if attack.facts.trees and not isinstance(self.target, Trees):
                raise BadPlan(
                    f'attack {attack.name!r} reads trees, and {self.target.name} shows none; for a tree ensemble say access = "gradient" in [target]'
                )
            return attack

    def _surrogate(self, table: ThreatTable, threat: Threat) -> Surrogate | None:
        members = [self.surrogates[name] for name in table.surrogate or ()]
        surrogate = None if not members else members[0] if len(members) == 1 else Mean(members)
        if surrogate is None and threat.access > self.target.access:
            raise NotGranted(
                f"access = {threat.access.name.lower()!r} is more than the target shows ({self.target.access.name.lower()}); "
                "lower it, or name a surrogate to take gradients from"
            )
        if surrogate is not None and surrogate.access > threat.access:
            raise NotGranted(
                f"surrogate = {', '.join(table.surrogate or ())!r} needs {surrogate.access.name.lower()} access to the target, "
                f"and the threat grants {threat.access.name.lower()}"
            )
        return surrogate


def _granted(threat: Threat, surrogate: Surrogate | None) -> Access:
    """What attacks may need: a surrogate of the attacker's own lifts the threat's access to gradients."""
    return threat.access if surrogate is None else Access.GRADIENT


def _perturbation(table: ThreatTable, data: Rows, base: Path) -> Perturbation:
    if table.features is not None and table.eps is not None:
        return features_of(table.features, table.eps, table.norm or "linf", data, base)
    mask = mask_of(table.mask, data.shape, base)
    if table.patch is not None:
        return _on_images(Patch(table.patch, data.lo, data.hi, mask), "patch", data)
    if table.eps is not None:
        ball = Ball(table.eps, table.norm or "linf", data.lo, data.hi, mask, pixels=table.pixels)
        return _on_images(ball, "pixels", data) if table.pixels else ball
    if isinstance(data.lo, tuple) or isinstance(data.hi, tuple):
        raise BadPlan("rotation and translation need inputs with one range for all features; give bounds = [lo, hi] as two numbers")
    if data.kind != "image":
        raise BadPlan(f"rotation and translation need images; these inputs have shape {data.shape}")
    return Transformations(table.rotation or 0.0, table.translation or 0.0, data.lo, data.hi)


def _on_images(said: Ball | Patch, key: str, data: Rows) -> Ball | Patch:
    """What is said in pixels, which must be there, and as many."""
    if data.kind != "image":
        raise BadPlan(f"{key} needs images; these inputs have shape {data.shape}")
    body_of(said, data.x[:1])
    return said


def _goal(table: ThreatTable, target: Target, data: Rows, base: Path) -> Goal:
    if not isinstance(table.goal, GoalTable):
        return Goal(reject_wins=table.reject_wins)
    said, count = table.goal.wanted, target.classes
    if isinstance(said, str) and said.endswith(".npy"):
        wanted: int | tuple[int, ...] = wanted_of_rows(said, data, count, base)
    else:
        wanted = class_index(said, data.classes, "wanted", count)
    return Goal(wanted, tuple(class_index(c, data.classes, "from", count) for c in table.goal.sources), table.reject_wins)


def _own_attack(spec: str, base: Path) -> Recipe[...] | Attack:
    """An attack from a person's file."""
    with guests():
        found = find(spec, base, BadPlan)
    if not isinstance(found, Recipe | Attack):
        raise BadPlan(f"{spec} is {type(found).__name__}, not an attack; put @attack(...) over the function, from vauban.attacks")
    return found
