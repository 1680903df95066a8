"""`vauban list`: the names that a campaign file may use, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from vauban.cli.output import Output
from vauban.errors import BadPlan, nearest

Rows = list[dict[str, object]]


def command(
    ctx: typer.Context, what: Annotated[str, typer.Argument(help="attacks, defences, methods, suites, doubts or outputs.")] = "attacks"
) -> None:
    """List attacks, defences and ways of training with their settings, suites, doubts, or the kinds of output a model may have.

    \b
    vauban list attacks
    """
    out = Output.of(ctx)
    if what not in LISTS:
        raise BadPlan(f"there is no list of {what!r}; {nearest(what, LISTS)}")
    rows = LISTS[what]()
    out.write(rows)
    if what == "attacks":
        out.table(("name", "access", "on", "what it does"), map(_attack, rows))
    elif what == "defences":
        out.table(("name", "family", "what it does", "how it is attacked"), map(_defence, rows))
    elif what == "methods":
        out.table(("name", "what it does", "settings"), map(_method, rows))
    else:
        out.table(list(rows[0]), [[_cell(v) for v in row.values()] for row in rows])


def attacks() -> Rows:
    """Every registered attack with its facts, those on texts among them."""
    from vauban.attacks import ATTACKS
    from vauban.attacks.text import TEXT_ATTACKS

    everything: dict[str, Any] = {**ATTACKS, **TEXT_ATTACKS}
    return [
        {
            "name": name,
            "access": recipe.facts.access.name.lower(),
            "perturbations": list(recipe.facts.on),
            "paper": recipe.facts.paper,
            "summary": recipe.facts.summary,
            "settings": {n: p.default for n, p in recipe.parameters.items()},
        }
        for name, recipe in sorted(everything.items())
    ]


def defences() -> Rows:
    """Every registered defence with its facts."""
    from vauban.defences import DEFENCES

    return [
        {
            "name": name,
            "family": design.facts.family,
            "claims": design.facts.claims,
            "adaptive": design.facts.adaptive,
            "paper": design.facts.paper,
            "summary": design.facts.summary,
            "settings": {n: None if p.default is p.empty else p.default for n, p in design.parameters.items()},
        }
        for name, design in sorted(DEFENCES.items())
    ]


def methods() -> Rows:
    """Every registered way of training."""
    from vauban.defences.training import METHODS

    return [
        {
            "name": name,
            "summary": manner.facts.summary,
            "paper": manner.facts.paper,
            "settings": {n: None if p.default is p.empty else p.default for n, p in manner.parameters.items()},
        }
        for name, manner in sorted(METHODS.items())
    ]


def suites() -> Rows:
    """Every suite, with what it comes to under an L-infinity threat with full access, and with scores and labels alone."""
    from vauban.attacks.suites import SUITES, suite
    from vauban.errors import BadPlan
    from vauban.threat import Access, Ball, Threat

    def under(name: str, access: Access) -> list[str]:
        try:
            return [a.name for a in suite(name, Threat("a threat", Ball("8/255"), access=access), (3, 32, 32))]
        except BadPlan:
            return []

    heads = {"under Linf with full access": Access.GRADIENT, "with scores": Access.SCORE, "with labels": Access.LABEL}
    return [{"name": name, **{head: under(name, access) for head, access in heads.items()}} for name in SUITES]


def doubts() -> Rows:
    """Every doubt with what to do about it."""
    from vauban.report.advice import ADVICE

    return [{"name": name, "what to do": advice} for name, advice in ADVICE.items()]


def outputs() -> Rows:
    """Every kind of model output."""
    from vauban.campaign.file.outputs import OUTPUTS

    return [{"name": name, "meaning": meaning} for name, meaning in OUTPUTS.items()]


LISTS: dict[str, Callable[[], Rows]] = {
    "attacks": attacks,
    "defences": defences,
    "methods": methods,
    "suites": suites,
    "doubts": doubts,
    "outputs": outputs,
}


def _attack(row: dict[str, object]) -> list[str]:
    """One attack in four cells, for a terminal is narrow: perturbations below each other, the paper below the summary."""
    on = row["perturbations"]
    lines = [str(kind) for kind in on] if isinstance(on, list) else []
    return [str(row["name"]), str(row["access"]), "\n".join(lines), f"{row['summary']}\n{row['paper']}"]


def _defence(row: dict[str, object]) -> list[str]:
    return [str(row["name"]), str(row["family"]), f"{row['summary']}\n{row['paper']}", str(row["adaptive"])]


def _method(row: dict[str, object]) -> list[str]:
    settings = row["settings"]
    said = "\n".join(f"{k} = {v}" for k, v in settings.items()) if isinstance(settings, dict) else ""
    return [str(row["name"]), f"{row['summary']}\n{row['paper']}", said]


def _cell(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
