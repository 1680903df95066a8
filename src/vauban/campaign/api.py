"""An audit from Python: the names of the campaign file as arguments of one function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vauban.attacks import Attack, Recipe, find
from vauban.attacks.suites import DEFAULT
from vauban.attacks.suites import suite as suite_of
from vauban.campaign.doubts import DOUBTERS, Doubter
from vauban.campaign.owed import completed
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import Promise, Record
from vauban.campaign.run import Progress, audit_plan, quiet
from vauban.data import Rows, load_data
from vauban.errors import BadPlan, BadTarget, nearest
from vauban.target import Function, Sklearn, Surrogate, Target, Torch, Trees
from vauban.threat import Access, Threat, exact

Named = Attack | Recipe[Any] | str
"""An attack with its settings, one with its defaults, or its name."""
Promised = Mapping[str, float | str | Mapping[str, float | str]]
"""By threat: the least robust accuracy, or a table of `robust_accuracy` and `clean_accuracy`."""


def audit(
    target: Target | nn.Module | Callable[..., Any] | object,
    x: Any,
    y: Any = None,
    threats: Threat | Iterable[Threat] = (),
    *,
    attacks: Iterable[Named] | None = None,
    suite: str = DEFAULT,
    promises: Promised | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    title: str = "",
    classes: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    layout: str = "auto",
    surrogate: Surrogate | None = None,
    samples: Rows | None = None,
    curve: bool = True,
    radii: Sequence[float | str] = (),
    session: int = 5,
    day: int = 10,
    chunk: int = 250,
    max_rows: int | None = None,
    keep_inputs: bool = True,
    fresh: bool = False,
    progress: Progress = quiet,
    doubters: Sequence[Doubter] = DOUBTERS,
) -> Record:
    """Attack a model under stated threats, and say honestly how it stood.

    Args:
        target: a `Target`, a torch module, a scikit-learn estimator, or a function from a numpy batch to class scores.
        x: inputs (n, *shape), numpy or torch, inside the threats' box; or `vauban.data.Rows`, which hold the labels too.
        y: true classes (n,).
        threats: one or several; each gets a finding of its own.
        attacks: in this order, each on what the ones before it left; by default those of the suite.
        suite: one of `vauban.attacks.suites.SUITES`, such as "vauban", "autoattack", "standard" or "quick".
        promises: the least robust accuracy by threat, `{"insider": 0.45}`, or a table, `{"insider": {"clean_accuracy": 0.9}}`.
        seed: of all random numbers.
        folder: where to make run folders, such as "runs": the same call then goes on with an interrupted run, and does nothing when it is
            done. By default nothing is written.
        title: what the report is headed with.
        classes: names of the classes.
        groups: the subgroup of each row.
        layout: how images lie, "chw" or "hwc"; by default told from the shape.
        surrogate: what gradients are taken from instead of the target's own.
        samples: inputs of the attacker's own, with their classes, as `vauban.data.Rows`: where decision-based attacks look for a start.
        curve: whether minimum-norm attacks go on with broken rows, for robust accuracy against eps.
        radii: the radii of that curve, ascending; by default a grid up to twice the threat's own.
        session, day: questions that the service under attack lets pass in a session, and from a device in a day.
        chunk: rows in one unit of work.
        max_rows: rows in one forward pass.
        keep_inputs: whether the run folder keeps adversarial examples and a gallery.
        fresh: begin a new run folder whatever there is.
        progress: who is told what happens; see `vauban.campaign.run.lines`.
        doubters: who looks for reasons not to trust the numbers.

    Returns:
        The record. `record.holds` is true when every promise does, so that a test may say `assert vauban.audit(...).holds`.

    Raises:
        BadPlan, BadData, BadTarget, NotGranted: something cannot be done as asked; one sentence says what, and the mend.

    >>> import torch
    >>> from vauban.threat import Ball, Threat
    >>> model, x = torch.nn.Linear(2, 2), torch.rand(20, 2)
    >>> record = audit(model, x, model(x).argmax(1), Threat("insider", Ball(0.1)), attacks=["pgd"])
    >>> record["insider"].clean.value
    1.0
    """
    victim = as_target(target)
    listed = (threats,) if isinstance(threats, Threat) else tuple(threats)
    if not listed:
        raise BadPlan('no threat: say what the attacker may do, such as threats=Threat("insider", Ball("8/255"))')
    data = rows_of(x, y, listed[0], classes=classes, groups=groups, layout=layout)
    grid = tuple(exact(r, "radii") for r in radii)
    own = None if samples is None else (samples.x, samples.y)
    bound = None if attacks is None else tuple(map(as_attack, attacks))
    plan = Plan(
        title=title or f"{victim.name} on {data.name}",
        target=victim,
        data=data,
        sieges=tuple(
            Siege(t, attacks_of(t, suite, data, surrogate, victim, bound), curve, surrogate, grid, session, day, own) for t in listed
        ),
        promises=promises_of(promises or {}, listed),
        seed=seed,
        chunk=chunk,
        max_rows=max_rows,
        keep_inputs=keep_inputs,
    )
    root = None if folder is None else Path(folder)
    return audit_plan(plan, folder=root, progress=progress, fresh=fresh, doubters=doubters, command="vauban.audit(...)")


def as_target(target: object) -> Target:
    """A target as it is; a torch module, scikit-learn estimator or function as one.

    Raises:
        BadTarget: it is none of these.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, nn.Module):
        return Torch(target)
    if hasattr(target, "predict") and not isinstance(target, type):
        return Sklearn(target)
    if callable(target) and not isinstance(target, type):
        return Function(target)
    raise BadTarget(
        f"the target is {type(target).__name__}; give a torch.nn.Module, a scikit-learn estimator, a vauban Target, or a function"
    )


def as_attack(named: Named) -> Attack:
    """An attack with its settings, from one, from a recipe or from a name."""
    if isinstance(named, Attack):
        return named
    return (find(named) if isinstance(named, str) else named).bind()


def rows_of(x: Any, y: Any, threat: Threat, *, classes: Sequence[str] | None, groups: Sequence[object] | None, layout: str) -> Rows:
    """The rows, checked, in the box of a threat."""
    if isinstance(x, Rows):
        return load_data(x)
    parts: dict[str, Any] = {"x": x, "y": y, "classes": classes, "groups": groups, "name": "the rows given"}
    allowed = threat.perturbation
    return load_data({k: v for k, v in parts.items() if v is not None}, lo=allowed.lo, hi=allowed.hi, layout=layout)


def attacks_of(
    threat: Threat, suite: str, data: Rows, surrogate: Surrogate | None, target: Target, bound: tuple[Attack, ...] | None = None
) -> tuple[Attack, ...]:
    """The attacks given, or those of a suite that can act under a threat, and what the target's defences owe.

    A surrogate of the attacker's own lends gradients whatever the threat grants.
    """
    granted = threat.access if surrogate is None else Access.GRADIENT
    chosen = suite_of(suite, threat, data.shape, granted, trees=isinstance(target, Trees)) if bound is None else bound
    return completed(chosen, threat, target, data.shape)


def promises_of(promised: Promised, threats: Sequence[Threat]) -> tuple[Promise, ...]:
    """What was promised, by threat.

    Raises:
        BadPlan: an unknown threat or metric, or a share outside [0, 1].
    """
    names = [t.name for t in threats]
    found: list[Promise] = []
    for name, said in promised.items():
        if name not in names:
            raise BadPlan(f"a promise is made for {name!r}, which is no threat; {nearest(name, names)}")
        table = dict(said) if isinstance(said, Mapping) else {"robust_accuracy": said}
        metrics = ("robust_accuracy", "clean_accuracy")
        for metric in table:
            if metric not in metrics:
                raise BadPlan(f"promise for {name!r}: {metric!r} is not promised; {nearest(metric, metrics)}")
        found.append(Promise(name, *(_share(table.get(m), f"promise for {name!r}: {m}") for m in metrics)))
    return tuple(found)


def _share(value: float | str | None, what: str) -> float | None:
    if value is None:
        return None
    number = exact(value, what)
    if not 0 <= number <= 1:
        raise BadPlan(f"{what} = {number:g} must be a share in [0, 1], such as 0.45")
    return number
