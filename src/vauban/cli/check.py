"""`vauban check`: try a campaign before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.file import FileModel
    from vauban.campaign.plan import Plan
    from vauban.campaign.text.plan import TextPlan
    from vauban.cli.trial import Look, Trial


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The campaign file.")] = Path("vauban.toml"),
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled models, which can run any code.")] = False,
) -> None:
    """Load everything a campaign names, try every attack on 8 rows, and estimate how long the campaign will take.

    An endpoint is asked about 8 clean rows alone, after it was said who allows that and what the campaign costs at most.

    \b
    vauban check vauban.toml
    """
    from vauban.campaign.file import plan_of, read_file

    out = Output.of(ctx)
    model = read_file(file)
    if model.data.kind == "text":
        from vauban.cli.texts import check

        check(model, file, out, trust_pickle=trust_pickle)
        return
    plan = plan_of(model, file, trust_pickle=trust_pickle)
    _print_plan(plan, out)
    if plan.target.metered:
        _sound(plan, file, out)
        return
    looks, trials = _tried(plan, model, out)
    notes = [*plan.data.notes, *_notes(plan, looks)]
    seconds = estimate(plan, trials)
    out.write({"file": str(file), **_facts(plan), "attacks": [asdict(t) for t in trials], "seconds": seconds, "notes": notes})
    print_trials(trials, seconds, out)
    for note in notes:
        out.say(f"! {note}")


def _sound(plan: Plan, file: Path, out: Output) -> None:
    """Check a campaign whose questions cost something."""
    from vauban.cli.endpoint import endpoints_of, facts, sounded

    found: list[dict[str, object]] = []
    notes = [*plan.data.notes]
    for target in endpoints_of(plan):
        seen, more = sounded(plan, target, out)
        notes += more
        found.append(facts(target, seen))
    out.write({"file": str(file), **_facts(plan), "endpoints": found, "notes": notes})
    for note in notes:
        out.say(f"! {note}")


def estimate(plan: Plan | TextPlan, trials: list[Trial]) -> float:
    """Seconds that the whole campaign takes at most, time limits included."""
    each = ((s.threat, sum(t.seconds for t in trials if t.threat == s.threat.name)) for s in plan.sieges)
    return sum(min(threat.seconds, seconds) for threat, seconds in each)


def _tried(plan: Plan, model: FileModel, out: Output) -> tuple[list[Look], list[Trial]]:
    from vauban.cli.trial import look_at, try_attacks

    looks: list[Look] = []
    trials: list[Trial] = []
    for i, siege in enumerate(plan.sieges):
        with model.source.blaming("threat", i):
            look = look_at(plan, siege)
            looks.append(look)
            for trial in try_attacks(plan, siege, look):
                out.progress(f"{trial.threat}: {trial.attack}")
                trials.append(trial)
    out.progress("")
    return looks, trials


def _notes(plan: Plan, looks: list[Look]) -> list[str]:
    """What looks wrong: budgets too small for a step; and a model no better than guessing on clean rows is most often fed wrongly."""
    from vauban.campaign.budget import too_small

    scant = [(s.threat.name, too_small(s.threat, s.attacks, s.surrogate)) for s in plan.sieges]
    found = [f"threat {name!r}: {why}" for name, why in scant if why]
    asked, correct = max(((look.asked, look.correct) for look in looks), default=(0, 0))
    guess = 1 / max(len(plan.data.classes), 2)
    if asked >= 8 and correct <= asked * guess * 1.5:
        hint = "check mean and std, bounds, and the order of classes"
        found.append(f"only {correct} of {asked} clean rows are classified as labelled, about what guessing gives; {hint}")
    return found


def _facts(plan: Plan) -> dict[str, object]:
    return plan_facts(plan, plan.data.shape, plan.data.kind)


def plan_facts(plan: Plan | TextPlan, shape: Sequence[int] = (), kind: str = "text") -> dict[str, object]:
    """What a plan is about, as JSON values; a text has no shape."""
    target, data = plan.target, plan.data
    return {
        "target": {
            "name": target.name,
            "kind": target.kind,
            "access": target.access.name.lower(),
            "outputs": target.outputs,
            "parameters": target.parameters_count(),
        },
        "data": {"name": data.name, "rows": len(data), "shape": list(shape), "kind": kind, "classes": list(data.classes)},
        "threats": [{"name": s.threat.name, "text": s.threat.text(), "attacks": [a.name for a in s.attacks]} for s in plan.sieges],
    }


def _print_plan(plan: Plan, out: Output) -> None:
    target, data = plan.target, plan.data
    count = target.parameters_count()
    size = f", {count:,} parameters" if count else ""
    out.say(f"target  {target.name}: {target.kind}, shows {target.access.name.lower()}s, on {target.device}{size}")
    names = ", ".join(data.classes[:6]) + (", ..." if len(data.classes) > 6 else "")
    out.say(f"data    {data.name}: {len(data):,} rows of shape {data.shape}, {len(data.classes)} classes ({names})")
    for siege in plan.sieges:
        out.say(f"threat  {siege.threat.name}: {siege.threat.text()}")


def print_trials(trials: list[Trial], seconds: float, out: Output) -> None:
    """Print what came of trying every attack."""
    from vauban.report.numbers import passes, time

    rows = [[t.threat, t.attack, f"{t.broken}/{t.tried}", passes(t.forwards), passes(t.backwards), time(t.seconds)] for t in trials]
    out.table(("threat", "attack", ">broken", ">forwards\nper row", ">backwards\nper row", ">whole\ncampaign"), rows)
    out.say(f"everything runs; the campaign takes at most about {time(seconds)} (rows that fall early make it shorter)")
