"""Named sets of attacks: an attacker that runs them in order over one oracle is a cascade, each attack on what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable

from vauban.attacks.registry import ATTACKS, Attack
from vauban.errors import BadPlan, nearest
from vauban.threat import Access, Threat

Choice = tuple[str, dict[str, object]]

BASELINES: tuple[Choice, ...] = (
    ("uniform-noise", {}),
    ("gaussian-noise", {}),
    ("salt-and-pepper", {}),
    ("contrast", {}),
    ("blur", {}),
)
QUICK: tuple[Choice, ...] = (("fgsm", {}), ("pgd", {"steps": 20}), ("spatial", {"grid": 3}))
STANDARD: tuple[Choice, ...] = (
    *BASELINES,
    ("spatial", {}),
    ("fgsm", {}),
    ("mi-fgsm", {}),
    ("pgd", {}),
    ("pgd", {"steps": 100, "step": 0.05, "loss": "margin", "restarts": 3}),
    ("jsma", {}),
)
MINIMUM: dict[str, Choice] = {
    "linf": ("fmn", {"steps": 200}),
    "l2": ("ddn", {"steps": 200}),
    "l1": ("fmn", {"steps": 200}),
    "l0": ("fmn", {"steps": 200}),
}


def _quick(threat: Threat) -> tuple[Choice, ...]:
    return QUICK


def _standard(threat: Threat) -> tuple[Choice, ...]:
    last = MINIMUM.get(threat.perturbation.kind)
    return STANDARD if last is None else (*STANDARD, last)


def _baselines(threat: Threat) -> tuple[Choice, ...]:
    return (*BASELINES, ("spatial", {"grid": 3}))


SUITES: dict[str, Callable[[Threat], tuple[Choice, ...]]] = {"quick": _quick, "standard": _standard, "baselines": _baselines}


def suite(name: str, threat: Threat, shape: tuple[int, ...], access: Access | None = None) -> tuple[Attack, ...]:
    """The attacks of a suite that can act under a threat, in order.

    Args:
        name: "quick" (one step and a short PGD), "standard" (baselines, one step, momentum, two PGDs, a minimum-norm attack), "baselines".
        threat: decides which apply: by access, perturbation, and whether it has a radius.
        shape: of one input.
        access: what gradients may be taken of, where a surrogate of the attacker's own lifts the threat's access.

    Raises:
        BadPlan: no such suite, or no attack of it can act.
    """
    if name not in SUITES:
        raise BadPlan(f"no suite is named {name!r}; {nearest(name, SUITES)}")
    granted = threat.access if access is None else access
    chosen = [ATTACKS[attack].bind(**settings) for attack, settings in SUITES[name](threat)]
    usable = tuple(a for a in chosen if a.facts.access <= granted and _fits(a, threat, shape))
    if not usable:
        raise BadPlan(
            f"threat {threat.name!r}: no attack of the suite {name!r} can act with {granted.name.lower()} access on {threat.perturbation.kind}; "
            "name attacks yourself, or grant more"
        )
    return usable


def _fits(attack: Attack, threat: Threat, shape: tuple[int, ...]) -> bool:
    try:
        attack.check(threat, shape=shape)
    except BadPlan:
        return False
    return True
