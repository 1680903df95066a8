"""`vauban diff`: two runs, row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from vauban.campaign.compare import Change, Comparison, Pair, compare
from vauban.cli.output import Output
from vauban.cli.runs import HELP, read_run


def command(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(help=f"The earlier run. {HELP}")],
    new: Annotated[str, typer.Argument(help="The later run, named likewise.")] = "latest",
) -> int:
    """Compare two runs on the rows they share (exact McNemar test); exit code 2 where no threat can be compared.

    \b
    vauban diff runs/2026-03-01-1 latest
    """
    out = Output.of(ctx)
    comparison = compare(read_run(old)[1], read_run(new)[1])
    out.write(facts(comparison))
    out.table(
        ("threat", ">before", ">after", ">change", ">p", ">rows", ">only before", ">only after"),
        [_row(p.threat, p.robust, p) for p in comparison.paired] + [_row("  clean accuracy", c, None) for c in _clean(comparison)],
    )
    for pair in comparison.pairs:
        for line in [*([f"cannot be compared: {pair.why}"] if pair.why else []), *pair.notes]:
            out.say(f"{pair.threat}: {line}")
    for name in comparison.added:
        out.say(f"{name}: only in the later run")
    return 0 if comparison.paired else 2


def facts(comparison: Comparison) -> dict[str, object]:
    """A comparison as JSON values."""
    return {"threats": [_facts(p) for p in comparison.pairs], "added": list(comparison.added)}


def _facts(pair: Pair) -> dict[str, object]:
    counts = {"both": pair.both, "only_old": pair.only_old, "only_new": pair.only_new, "neither": pair.neither}
    return {
        "threat": pair.threat,
        "paired": pair.robust is not None,
        "why": pair.why,
        **counts,
        "robust": _change(pair.robust),
        "clean": _change(pair.clean),
        "notes": list(pair.notes),
    }


def _change(change: Change | None) -> dict[str, float] | None:
    if change is None:
        return None
    return {"old": change.old.value, "new": change.new.value, "difference": change.difference, "p": change.p, "rows": change.new.rows}


def _clean(comparison: Comparison) -> list[Change]:
    """Clean accuracy before and after, once where threats agree on it."""
    return list(dict.fromkeys(p.clean for p in comparison.pairs if p.clean is not None))


def _row(name: str, change: Change | None, pair: Pair | None) -> list[str]:
    if change is None:
        return [name]
    alone = ["", ""] if pair is None else [f"{pair.only_old:,}", f"{pair.only_new:,}"]
    mark = "*" if change.significant else ""
    moved = f"{100 * change.difference:+.1f}{mark}"
    return [name, f"{change.old.value:.1%}", f"{change.new.value:.1%}", moved, f"{change.p:.2g}", f"{change.new.rows:,}", *alone]
