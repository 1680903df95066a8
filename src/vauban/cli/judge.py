"""`vauban judge`: adversarial examples that another tool made, judged by our referee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.rejudge import Rejudged


def command(
    ctx: typer.Context,
    examples: Annotated[Path, typer.Argument(help=".npz with x_adv, and row: the ids of the rows they belong to.")],
    file: Annotated[Path, typer.Argument(help="The campaign file, for the model, the data and the threats.")] = Path("vauban.toml"),
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled models, which can run any code.")] = False,
) -> int:
    """Say of each example whether it lies inside the threat and fools the model; exit code 2 where none could be judged.

    \b
    vauban judge adversarial.npz
    """
    from vauban.campaign.file import plan_of, read_file
    from vauban.campaign.rejudge import rejudge

    out = Output.of(ctx)
    plan = plan_of(read_file(file), file, trust_pickle=trust_pickle)
    found, judged = rejudge(plan, examples)
    out.write({"file": str(examples), "rows": len(found.rows), "labels_differ": found.labels_differ, "threats": judged})
    out.table(
        ("threat", ">given", ">set aside", ">inside", ">fool the model", ">largest distance"), [_row(j) for j in judged if not j.unable]
    )
    if found.labels_differ:
        out.note(f"{found.labels_differ} labels in {examples} differ from those of the data; the data's were used")
    for judgement in judged:
        for line in _lines(judgement):
            out.say(f"{judgement.threat}: {line}")
    return 2 if all(j.unable for j in judged) else 0


def _row(judged: Rejudged) -> list[str]:
    from vauban.report.numbers import number

    counts = (judged.given, judged.set_aside, judged.inside, judged.fooled)
    return [judged.threat, *(f"{c:,}" for c in counts), number(judged.worst, 6)]


def _lines(judged: Rejudged) -> list[str]:
    """What to say besides the table: why nothing was judged, or the rows that fail."""
    if judged.unable:
        return [f"could not be judged: {judged.unable}"]
    lines = [f"row {f.row}: {f.why}" for f in judged.failures]
    return [*lines, *([f"and {judged.more:,} rows more fail"] if judged.more else [])]
