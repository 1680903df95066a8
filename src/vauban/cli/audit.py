"""`vauban audit`: carry out a campaign, or go on with it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.plan import Plan
    from vauban.campaign.record import Record
    from vauban.campaign.run import Progress, RunFolder


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The campaign file.")] = Path("vauban.toml"),
    *,
    run: Annotated[
        Path | None, typer.Option(help="Use this very run folder; by default a dated one beside the file.", metavar="FOLDER")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new run, whatever there is to go on with.")] = False,
    no_inputs: Annotated[bool, typer.Option("--no-inputs", help="Keep no inputs in the run folder: no examples, no gallery.")] = False,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled models, which can run any code.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of all random numbers, instead of the file's.", min=0)] = None,
) -> int:
    """Attack the model as the file says; exit code 0 holds, 1 breached, 2 unable, 3 inconclusive.

    The same command goes on with a run that was interrupted, and does nothing when it is done.

    \b
    vauban audit
    vauban audit release.toml --no-inputs
    """
    from vauban.campaign.file import plan_of, read_file
    from vauban.campaign.run import audit_plan
    from vauban.campaign.run.audit import full_disk_told
    from vauban.cli.endpoint import announce, endpoints_of, outlook

    out = Output.of(ctx)
    model = read_file(file)
    if seed is not None:
        model = model.model_copy(update={"seed": seed})
    words = {"--no-inputs": no_inputs, "--trust-pickle": trust_pickle, f"--seed {seed}": seed is not None}
    said = shlex.join(["vauban", "audit", str(file), *(w for flag, given in words.items() if given for w in flag.split())])
    if model.data.kind == "text":
        from vauban.cli.texts import audit

        return audit(model, file, out, run=run, keep_inputs=not no_inputs, trust_pickle=trust_pickle, command=said)
    plan = plan_of(model, file, trust_pickle=trust_pickle)
    keep = plan.keep_inputs and not no_inputs
    if plan.target.metered:
        for target in endpoints_of(plan):
            announce(target, outlook(plan, target), out)
    with full_disk_told(run or file.parent / model.run.folder):
        folder = opened(plan, run, file.parent / model.run.folder, fresh=fresh, keep_inputs=keep)
    with progress(out) as tell:
        record = audit_plan(plan, folder=folder, progress=tell, keep_inputs=keep, command=said)
    return told(record, folder, out)


def opened(plan: Plan, exact: Path | None, root: Path, *, fresh: bool, keep_inputs: bool) -> RunFolder:
    """The run folder that is asked for, or the one to go on with."""
    from vauban.campaign.run import open_exactly, open_run
    from vauban.campaign.run.audit import check

    check(plan)
    if exact is not None:
        return open_exactly(plan, exact, fresh=fresh, keep_inputs=keep_inputs)
    return open_run(plan, root, fresh=fresh, keep_inputs=keep_inputs)


@contextmanager
def progress(out: Output) -> Generator[Progress]:
    """Who is told what happens: bars on a terminal, lines in a log, events with --json, nobody with -q. People are told on stderr."""
    from vauban.campaign.run import JsonLines, quiet
    from vauban.campaign.run.lines import Bars, PlainLines

    if out.quiet:
        yield quiet
    elif out.json:
        yield JsonLines(sys.stdout)
    elif out.plain or not sys.stderr.isatty():
        yield PlainLines(lambda line: print(line, file=sys.stderr, flush=True))
    else:
        from rich.console import Console

        with Bars(Console(stderr=True, markup=False, highlight=False, emoji=False)) as bars:
            yield bars


def told(record: Record, folder: RunFolder, out: Output) -> int:
    """Print the record and where its page lies; the verdict is the exit code."""
    from vauban.campaign.verdict import judgements, verdict
    from vauban.report.terminal import print_record

    outcome = verdict(record)
    if out.json and not out.quiet:
        import msgspec

        event = {
            "event": "verdict",
            "verdict": outcome.name.lower(),
            "exit_code": int(outcome),
            "record": str(folder.record),
            "report": str(folder.path / "report.html"),
        }
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    if out.talks:
        print_record(record, out.console, judgements(record), plain=out.plain)
        out.say(f"\nreport: {folder.path / 'report.html'}")
    return int(outcome)
