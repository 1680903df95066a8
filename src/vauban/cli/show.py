"""`vauban show`: a run's record as tables, or as JSON."""

from __future__ import annotations

from typing import Annotated

import typer

from vauban.cli.output import Output
from vauban.cli.runs import HELP, read_run


def command(ctx: typer.Context, run: Annotated[str, typer.Argument(help=HELP)] = "latest") -> None:
    """Show what a run found: the verdict of each threat, its attacks, the doubts.

    \b
    vauban show runs/2026-03-01-1
    """
    out = Output.of(ctx)
    path, record = read_run(run)
    out.write(record)
    if not out.talks:
        return
    from vauban.report.terminal import print_record

    print_record(record, out.console, plain=out.plain)
    report = (path if path.is_dir() else path.parent) / "report.html"
    if report.is_file():
        out.say(f"\nreport: {report}")
