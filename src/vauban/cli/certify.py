"""`vauban certify`: what can be proven of the model that a campaign names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.certify import Certificates, Tick
    from vauban.campaign.plan import Plan
    from vauban.campaign.verdict import Judgement

Level = Literal["interval", "crown", "alpha"]


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The campaign file.")] = Path("vauban.toml"),
    *,
    rows: Annotated[int | None, typer.Option(help="Certify so many rows, a uniform sample, instead of the file's.", min=1)] = None,
    alpha: Annotated[float, typer.Option(help="Smoothing: the chance, for each row, that its certificate is false.")] = 0.001,
    samples: Annotated[int, typer.Option(help="Smoothing: noisy copies of one row, at most.", min=1)] = 100_000,
    radii: Annotated[str, typer.Option(help="Smoothing: more radii for the curve, such as 0.25,0.5,1.", metavar="A,B")] = "",
    level: Annotated[str, typer.Option(help="Networks: interval, crown or alpha; each tighter than the one before, and dearer.")] = "crown",
    fresh: Annotated[bool, typer.Option("--fresh", help="Certify again what is certified already.")] = False,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled models, which can run any code.")] = False,
) -> int:
    """Prove rows robust under every threat that is a ball: a smoothed model by sampling, a network by bounds, trees by their leaves.

    Certified accuracy is a lower bound: what is not certified need not be broken. Exit code 0: what was promised is certified, or nothing
    was promised; 2: nothing could be proven; 3: less is certified than was promised. The same command goes on with what was interrupted.

    \b
    vauban certify
    vauban certify vauban.toml --rows 200 --alpha 0.0001
    """
    from vauban.campaign.certify import Wanted, certify_plan
    from vauban.campaign.file import kinds, plan_of, read_file

    out = Output.of(ctx)
    model = read_file(file)
    if model.data.kind == "text":
        raise model.source.told(("data", "kind"), kinds.ALL)
    wanted = Wanted(alpha, samples, _radii(radii), _level(level))
    if rows is not None:
        model = model.model_copy(update={"data": model.data.model_copy(update={"rows": rows})})
    plan = plan_of(model, file, trust_pickle=trust_pickle)
    root = file.parent / model.run.folder / "certificates"
    found = certify_plan(plan, wanted, root=root, fresh=fresh, progress=Telling(out))
    out.progress("")
    return told(found, plan, root, out)


def _radii(text: str) -> tuple[float, ...]:
    from vauban.threat import exact

    return tuple(exact(part.strip(), "radii") for part in text.split(",") if part.strip())


def _level(text: str) -> Level:
    from typing import get_args

    from vauban.errors import BadPlan, nearest

    for known in get_args(Level):
        if text == known:
            return known
    raise BadPlan(f"--level {text!r} is not a way to bound; {nearest(text, get_args(Level))}")


class Telling:
    """Progress for people, on standard error: a line at a terminal, and one for every tenth of the rows in a log."""

    def __init__(self, out: Output) -> None:
        self.out, self.threat, self.began, self.tenth = out, "", 0.0, 0

    def __call__(self, tick: Tick) -> None:
        from vauban.report.numbers import time as clock

        if tick.threat != self.threat:
            self.threat, self.began, self.tenth = tick.threat, time.perf_counter(), 0
            if tick.settled:
                self.out.note(f"{tick.threat}: {tick.settled} of {tick.rows} rows were certified before; going on from there")
        text = f"{tick.threat}: {tick.settled} of {tick.rows} rows, {tick.certified} certified"
        if tick.done:
            left = (time.perf_counter() - self.began) / tick.done * (tick.rows - tick.settled)
            text += f", about {clock(left)} left" if left >= 1 else ""
        self.out.progress(text)


def told(found: tuple[Certificates, ...], plan: Plan, root: Path, out: Output) -> int:
    """Print the certificates and hold them against the promises; the exit code."""
    from vauban.campaign.certify.keep import summary

    judged = judgements(found, plan)
    code = _code(found, judged)
    verdicts = [
        {"threat": j.threat, "promised": j.promised, "verdict": j.verdict.name.lower(), "reason": j.reason} for j in judged
    ]  # fmt: skip
    out.write({"threats": [summary(c) for c in found], "promises": verdicts, "exit_code": code, "folder": str(root)})
    _tables(found, out)
    for c in found:
        for warning in c.warnings:
            out.say(f"! {c.threat}: {warning}")
        if c.unable:
            out.say(f"{c.threat}: unable: {c.unable}")
        else:
            out.say(f"{c.threat}: {_statement(c)}")
    for j in judged:
        out.say(f"{j.threat}: {j.verdict.name.lower()}: {j.reason}")
    if any(not c.unable for c in found):
        out.say(f"\ncertificates: {root}")
    return code


def _statement(c: Certificates) -> str:
    """What a certificate of this threat says, and by what it was proven."""
    if c.alpha:
        return f"proven of the smoothed answer, each row but for chance {c.alpha:g}, by {c.facts}"
    return f"proven by {c.facts}"


def _tables(found: tuple[Certificates, ...], out: Output) -> None:
    from vauban.report.numbers import interval, passes, percent
    from vauban.report.numbers import time as clock
    from vauban.threat import written

    proven = [c for c in found if not c.unable]
    if proven:
        head = ("threat", ">rows", ">certified", ">95%", ">wrong", ">open", ">samples\na row", ">CPU")
        body = [
            [
                c.threat,
                f"{len(c.rows):,}",
                percent(c.certified.value),
                interval(c.certified, "-"),
                str(c.count("wrong")),
                str(len(c.rows) - c.certified.hits - c.count("wrong")),
                passes(round(c.samples)) if c.method == "smoothing" else "-",
                clock(c.seconds),
            ]
            for c in proven
        ]
        out.table(head, body)
    for c in (c for c in proven if len(c.radii) > 1):
        out.table(
            (f"{c.threat}: radius", ">certified", ">95%", ">undecided"),
            [[written(r), percent(c.at(r).value), interval(c.at(r), "-"), str(c.undecided(r))] for r in c.radii],
        )


def judgements(found: tuple[Certificates, ...], plan: Plan) -> list[Judgement]:
    """Promised robust accuracy held against what is certified. Less of it breaks no promise: what is not certified need not fall."""
    from vauban.campaign.verdict import Judgement, Verdict, judge

    judged: list[Judgement] = []
    by_name = {c.threat: c for c in found}
    for promise in plan.promises:
        least, c = promise.robust_accuracy, by_name.get(promise.threat)
        if least is None or c is None:
            continue
        rate = None if c.unable else c.certified
        verdict, reason = (Verdict.UNABLE, c.unable) if rate is None else judge(rate, least)
        if rate is not None and verdict is not Verdict.HOLDS:
            low, high = rate.interval
            verdict = Verdict.INCONCLUSIVE
            reason = (
                f"{rate.value:.1%} [{low:.1%}, {high:.1%}] is certified, and {least:.1%} promised; what is not certified may still hold"
            )
        judged.append(Judgement(promise.threat, "certified accuracy", least, rate, verdict, reason))
    return judged


def _code(found: tuple[Certificates, ...], judged: list[Judgement]) -> int:
    from vauban.campaign.verdict import Verdict, worst

    if all(c.unable for c in found):
        return int(Verdict.UNABLE)
    return int(worst(j.verdict for j in judged))
