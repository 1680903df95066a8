"""What an evaluation of a defence must contain: the attacker that does not know of it first, and then those that do."""

from __future__ import annotations

from collections.abc import Iterable

from vauban.attacks import Attack, find
from vauban.errors import BadPlan
from vauban.target import Target
from vauban.target.around import worn_by
from vauban.threat import Access, Threat

NAIVE = "oblivious"
"""The attack whose survivors are the naive number of a defence."""


def completed(attacks: Iterable[Attack], threat: Threat, target: Target, shape: tuple[int, ...]) -> tuple[Attack, ...]:
    """The attacks, and where the target wears defences what these owe: as much of it as can act under the threat, and nothing twice.

    An attacker that holds the model knows its defences. The oblivious attack goes first, so that its survivors are what the defence would have
    been credited with, and the final number is at most that.
    """
    chosen, worn = tuple(attacks), worn_by(target)
    if not worn:
        return chosen
    naive = [find(NAIVE).bind()] if threat.access >= Access.GRADIENT else []
    owed = [find(o.attack).bind(**o.settings) for w in worn for o in w.owed]
    first = [a for a in naive if _new(a, chosen) and _acts(a, threat, shape)]
    last: list[Attack] = []
    for attack in owed:
        if attack.facts.access <= threat.access and _new(attack, (*chosen, *last)) and _acts(attack, threat, shape):
            last.append(attack)
    return (*first, *chosen, *last)


def _new(attack: Attack, known: Iterable[Attack]) -> bool:
    return all((attack.name, dict(attack.settings)) != (a.name, dict(a.settings)) for a in known)


def _acts(attack: Attack, threat: Threat, shape: tuple[int, ...]) -> bool:
    try:
        attack.check(threat, shape=shape)
    except BadPlan:
        return False
    return True
