"""`vauban gate`: hold a run against its promises and an earlier run, and say it by the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vauban.campaign.record import Promise, Record
from vauban.campaign.verdict import Judgement, Verdict, judgements, worst
from vauban.cli.output import Output
from vauban.cli.runs import HELP, read_run
from vauban.errors import BadPlan, nearest


def command(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help=HELP)] = "latest",
    *,
    baseline: Annotated[str, typer.Option(help="An earlier run that this one must not be worse than; named like RUN.", metavar="RUN")] = "",
    waivers: Annotated[Path | None, typer.Option(help="TOML file of waivers, each with an expiry date.", metavar="FILE")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the outcome as JUnit XML.", metavar="FILE")] = None,
    promise: Annotated[list[str] | None, typer.Option(help="Hold a threat's robust accuracy to this.", metavar="THREAT=SHARE")] = None,
    tolerance: Annotated[float, typer.Option(help="How much lower than the baseline a rate may look.", min=0, max=1)] = 0.02,
) -> int:
    """Hold a run against its promises: exit code 0 holds, 1 breached, 2 unable, 3 inconclusive.

    \b
    vauban gate latest --baseline runs/release-11 --waivers waivers.toml --junit gate.xml
    """
    from vauban.campaign.waivers import Waived, apply, read_waivers

    out = Output.of(ctx)
    path, record = read_run(run)
    judged = [*judgements(record, promised_by(record, promise or ())), *_against(baseline, record, tolerance, out)]
    if not judged:
        raise BadPlan(f"{path}: nothing was promised, so there is nothing to hold; give --promise THREAT=SHARE or --baseline RUN")
    entered = apply(judged, read_waivers(waivers)) if waivers else Waived(tuple(judged))
    outcome = worst([*entered.counting, Verdict.HOLDS if record.complete else Verdict.UNABLE])
    if junit:
        from vauban.report.junit import write_junit

        write_junit(record, entered.judgements, junit)
    notes = [*entered.notes, *([] if record.complete else ["the run is unfinished; run the audit again to resume it"])]
    for note in notes:
        out.note(note)
    told = {"verdict": outcome.name.lower(), "exit_code": int(outcome), "run": str(path)}
    out.write({**told, "judgements": [_facts(j) for j in entered.judgements], "notes": notes})
    _print(entered.judgements, outcome, out)
    return outcome


def promised_by(record: Record, overrides: Sequence[str]) -> tuple[Promise, ...]:
    """The record's promises with the robust accuracy of some threats replaced.

    Raises:
        BadPlan: an override that is not THREAT=SHARE, for an unknown threat, or beyond [0, 1].
    """
    promises = {p.threat: p for p in record.promises}
    known = list(dict.fromkeys([*(f.name for f in record.findings), *promises]))
    for text in overrides:
        threat, _, share = text.rpartition("=")
        if threat not in known:
            raise BadPlan(f"--promise {text}: no threat of the run is named {threat!r}; {nearest(threat, known)}")
        promises[threat] = replace(promises.get(threat, Promise(threat)), robust_accuracy=_share(share, text))
    return tuple(promises.values())


def _share(word: str, text: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise BadPlan(f"--promise {text}: {word!r} is not a number; write it as in --promise insider=0.45") from error
    if not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise BadPlan(f"--promise {text}: {word} must lie in [0, 1]: it is a share, not a percentage{hint}")
    return value


def _against(baseline: str, record: Record, tolerance: float, out: Output) -> tuple[Judgement, ...]:
    if not baseline:
        return ()
    from vauban.campaign.compare import compare, judge_baseline

    comparison = compare(read_run(baseline)[1], record)
    for pair in comparison.pairs:
        for note in pair.notes:
            out.note(f"{pair.threat}: {note}")
    for name in comparison.added:
        out.note(f"{name}: the baseline has no such threat, so it is held to its promise alone")
    return judge_baseline(comparison, tolerance)


def _facts(j: Judgement) -> dict[str, object]:
    measured = None if j.rate is None or not j.rate.rows else j.rate
    return {
        "threat": j.threat,
        "metric": j.metric,
        "promised": j.promised,
        "measured": measured and measured.value,
        "interval": measured and measured.interval,
        "rows": measured.rows if measured else 0,
        "verdict": j.verdict.name.lower(),
        "reason": j.reason,
        "waived": j.waived,
    }


def _print(judged: Sequence[Judgement], outcome: Verdict, out: Output) -> None:
    for j in judged:
        waived = f" (waived {j.waived})" if j.waived else ""
        out.say(f"{j.verdict.name:<12}  {j.threat}: {j.metric}: {j.reason}{waived}")
    waived = "" if not any(j.waived for j in judged) else ", waived breaches left out"
    out.say(f"\nverdict: {outcome.name.lower()} (exit code {int(outcome)}{waived})")
