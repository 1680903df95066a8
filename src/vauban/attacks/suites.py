"""Named sets of attacks: an attacker that runs them in order over one oracle is a cascade, each attack on what the ones before it left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vauban.attacks.ladder import ladder
from vauban.attacks.registry import Attack, find
from vauban.errors import BadPlan, nearest
from vauban.threat import Access, Threat

BASELINES = ("uniform-noise", "gaussian-noise", "salt-and-pepper", "contrast", "blur")
CURVE = {"linf": ("fmn", 50), "l2": ("ddn", 50), "l1": ("fmn", 50), "l0": ("sigma-zero", 100), "pixels": ("sigma-zero", 100)}
"""The attack that gives every row its distance, with its steps."""


SMALL = 4096
"""ReLUs of a network on which ascents through leaking ReLUs pay; what has more is left after one forward pass."""


def _quick(threat: Threat) -> list[Attack]:
    return [_a("fgsm"), _a("pgd", steps=20), _a("patch-pgd", steps=20, restarts=1), _a("spatial", grid=3), _a("capgd", restarts=1)]


def _standard(threat: Threat) -> list[Attack]:
    last = {"l2": ("ddn", 200), **dict.fromkeys(("linf", "l1", "l0", "pixels"), ("fmn", 200))}.get(threat.perturbation.kind)
    return [
        *map(_a, BASELINES),
        _a("spatial"),
        _a("fgsm"),
        _a("mi-fgsm"),
        _a("pgd"),
        _a("pgd", steps=100, step=0.05, loss="margin", restarts=3),
        _a("jsma"),
        *_pixels(threat.perturbation.kind),
        *([] if last is None else [_a(last[0], steps=last[1])]),
        *_caa(),
    ]


def _vauban(threat: Threat) -> list[Attack]:
    """Cheap looks, the margin ascents, proofs for what stands, the hiding places of small networks, questions without gradients, and the curve;
    for an attacker without the model, the ladder."""
    if threat.access < Access.GRADIENT:
        return ladder(threat)
    kind = threat.perturbation.kind
    curve = CURVE.get(kind)
    return [
        _a("uniform-noise"),
        _a("leaf-tuple", starts=5),
        _a("spatial"),
        _a("fgsm"),
        _a("adaptive"),
        *([_a("jsma")] if kind == "l0" else _pixels(kind)),
        *([_a("apgd", large_eps=True, loss="margin")] if kind == "l1" else []),
        _a("linear-bounds"),
        _a("memetic", units=SMALL),
        _a("square", queries=2000, hope=0.1),
        *([] if curve is None else [_a(curve[0], steps=curve[1], **({"hope": 0.5} if curve[0] == "fmn" else {}))]),
        *_caa(),
    ]


def _pixels(kind: str) -> list[Attack]:
    """Where a patch or some pixels may change: gradients, and a search by scores, since what is sparse is where gradients see least."""
    if kind == "patch":
        return [_a("patch-pgd"), _a("sparse-rs-patch", queries=250, restarts=4)]
    return [_a("sparse-rs", queries=1000)] if kind == "pixels" else []


def _caa() -> list[Attack]:
    """On tables: gradients first, then the genetic search on what is left (CAA, Simonetto et al. 2024, arXiv:2406.00775)."""
    return [_a("capgd"), _a("moeva")]


def _autoattack(threat: Threat) -> list[Attack]:
    """APGD on cross-entropy, targeted APGD, targeted FAB, Square; each with the published settings."""
    l1 = threat.perturbation.kind == "l1"
    return [
        _a("apgd", restarts=5 if l1 else 1, large_eps=l1),
        _a("apgd-t", targets=5 if l1 else 9, large_eps=l1),
        _a("fab-t").on_survivors(),
        _a("square", schedule="published"),
    ]


def _autoattack_plus(threat: Threat) -> list[Attack]:
    l1 = threat.perturbation.kind == "l1"
    return [
        _a("apgd", restarts=5, large_eps=l1),
        _a("apgd", restarts=5, loss="dlr", large_eps=l1),
        _a("fab", restarts=5).on_survivors(),
        _a("square", schedule="published"),
        _a("apgd-t", large_eps=l1),
        _a("fab-t").on_survivors(),
    ]


def _autoattack_rand(threat: Threat) -> list[Attack]:
    return [_a("apgd", eot=20), _a("apgd", eot=20, loss="dlr")]


def _baselines(threat: Threat) -> list[Attack]:
    return [*map(_a, BASELINES), _a("spatial", grid=3)]


SUITES: dict[str, Callable[[Threat], list[Attack]]] = {
    "vauban": _vauban,
    "ladder": ladder,
    "autoattack": _autoattack,
    "autoattack-plus": _autoattack_plus,
    "autoattack-rand": _autoattack_rand,
    "standard": _standard,
    "quick": _quick,
    "baselines": _baselines,
}
DEFAULT = "vauban"
"""The suite of a threat that names neither a suite nor attacks."""


def suite(name: str, threat: Threat, shape: tuple[int, ...], access: Access | None = None, *, trees: bool = False) -> tuple[Attack, ...]:
    """The attacks of a suite that can act under a threat, in order.

    Args:
        name: "vauban" (as strong as AutoAttack or stronger at a tenth of its cost, with proofs and a curve), "autoattack", "autoattack-plus" and
            "autoattack-rand" (Croce and Hein 2020, arXiv:2003.01690, with the published settings), "standard" (baselines, one step, momentum,
            two PGDs, a minimum-norm attack), "ladder" (what an attacker without the model climbs, and what "vauban" is for one), "quick" (one
            step and a short PGD), "baselines".
        threat: decides which apply: by access, perturbation, and whether it has a radius.
        shape: of one input.
        access: what gradients may be taken of, where a surrogate of the attacker's own lifts the threat's access.
        trees: whether the target is a `Trees`, so that attacks that read trees can act.

    Raises:
        BadPlan: no such suite, or no attack of it can act.
    """
    if name not in SUITES:
        raise BadPlan(f"no suite is named {name!r}; {nearest(name, SUITES)}")
    granted = threat.access if access is None else access
    usable = tuple(a for a in _usable(SUITES[name](threat), threat, shape, granted) if trees or not a.facts.trees)
    if not usable:
        raise BadPlan(
            f"threat {threat.name!r}: no attack of the suite {name!r} can act with {granted.name.lower()} access on {threat.perturbation.kind}; "
            "name attacks yourself, or grant more"
        )
    return usable


def _usable(attacks: Iterable[Attack], threat: Threat, shape: tuple[int, ...], granted: Access) -> Iterable[Attack]:
    for attack in attacks:
        if can_ask(attack, threat, granted) and _fits(attack, threat, shape):
            yield attack


def can_ask(attack: Attack, threat: Threat, granted: Access) -> bool:
    """Whether an attacker may ask what an attack asks: `granted` is more than the threat's access where it has a surrogate of its own, which
    lends gradients and no answers of the target."""
    own = granted >= Access.GRADIENT > threat.access
    need = attack.facts.access
    return (own or not attack.facts.prior) and (need <= threat.access or (own and need >= Access.GRADIENT))


def _fits(attack: Attack, threat: Threat, shape: tuple[int, ...]) -> bool:
    try:
        attack.check(threat, shape=shape)
    except BadPlan:
        return False
    return True


def _a(name: str, **settings: Any) -> Attack:
    return find(name).bind(**settings)
