"""What is said of a campaign against an endpoint before it is asked anything: who allows it and what it costs at most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vauban.cli.output import Output

if TYPE_CHECKING:
    from torch import Tensor

    from vauban.campaign.plan import Plan
    from vauban.target.http import Http

ROWS = 8
"""Clean rows that are asked about."""
AGAIN = 3
"""Questions, at most, by which the referee asks about an example again; they are not of the attacker's budget."""


@dataclass(frozen=True)
class Outlook:
    """What a campaign asks of an endpoint at most.

    Attributes:
        queries: questions; requests: without retries; seconds, money, unit: what they take.
        latency: seconds of a request; measured: or assumed.
    """

    queries: float
    requests: float
    seconds: float
    money: float
    unit: str
    latency: float
    measured: bool


def endpoints_of(plan: Plan) -> Iterator[Http]:
    """The endpoints that a plan would ask: its target, or what is behind it."""
    from vauban.campaign.run.verify import parts_of
    from vauban.target.http import Http

    yield from (part for part in parts_of(plan.target) if isinstance(part, Http))


def sounded(plan: Plan, target: Http, out: Output) -> tuple[Outlook, list[str]]:
    """Say who allows it and what it costs; then ask about a few clean rows. What it would cost as measured, and notes."""
    announce(target, outlook(plan, target), out)
    rows = plan.data.take(_spread(len(plan.data)))
    plan.target.prepare(rows.x)
    labels = plan.target.labels(rows.x)
    after = outlook(plan, target)
    out.say(f"answers {int((labels == rows.y).sum())} of {len(rows)} clean rows as labelled; {_steady(target)}; {_spent(target)}")
    out.say(f"so      {_cost(after)}")
    return after, list(_notes(plan, target, int((labels == -1).sum())))


def outlook(plan: Plan, target: Http) -> Outlook:
    """All questions of a plan: clean ones, those of the attackers and for training their surrogates, and those by which examples are asked again."""
    rows, probe = len(plan.data), target.probe
    each = sum(1 + siege.threat.queries + AGAIN for siege in plan.sieges)
    found = target.estimate(rows, 1 + each)
    parts = [found, target.estimate(probe.rows, probe.repeats), target.estimate(1, _training(plan))]
    queries, requests, seconds, money = (sum(getattr(p, name) for p in parts) for name in ("queries", "requests", "seconds", "money"))
    return Outlook(queries, requests, seconds, money, found.unit, found.latency, found.measured)


def _training(plan: Plan) -> int:
    """Questions with which surrogates are trained, each once however many threats name it."""
    from vauban.attacks.trained import Trained
    from vauban.campaign.run.verify import parts_of

    named = [part for siege in plan.sieges if siege.surrogate is not None for part in parts_of(siege.surrogate)]
    return sum(part.most for part in {id(part): part for part in named}.values() if isinstance(part, Trained))


def facts(target: Http, seen: Outlook) -> dict[str, object]:
    """The same in plain values; None for no limit."""
    plain = {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in asdict(seen).items()}
    steadiness = None if target.steadiness is None else asdict(target.steadiness)
    return {"authorisation": asdict(target.authorisation), "outlook": plain, "steadiness": steadiness, "bill": asdict(target.bill)}


def announce(target: Http, seen: Outlook, out: Output) -> None:
    """Say who allows an endpoint to be attacked, what it costs at most, where it stops, and what is known already. Sends nothing."""
    allowed = target.authorisation
    out.say(f"allowed {allowed.statement!r}, for {', '.join(allowed.allowed_hosts)}")
    out.say(f"cost    {_cost(seen)}")
    limits = [f"{value:,g} {name}" for name, value in asdict(target.budget).items() if value is not None]
    if limits:
        out.say(f"budget  {', '.join(limits)}: the campaign stops there")
    known = target.known
    if known.answered + known.refused:
        days = " to ".join(sorted({f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d}" for t in (known.first, known.last) if t is not None}))
        out.say(f"journal {target.journal}: {known.answered + known.refused:,} answers of {days}, which are not asked for again")


def _cost(seen: Outlook) -> str:
    from vauban.report.numbers import time

    if math.isinf(seen.queries):
        return "no limit: a threat sets none to its queries"
    money = f", {seen.money:,.2f} {seen.unit}".rstrip() if seen.money else ""
    how = "measured" if seen.measured else "assumed"
    return (
        f"at most {seen.queries:,.0f} questions in {seen.requests:,.0f} requests, about {time(seen.seconds)}{money} "
        f"({seen.latency * 1000:,.0f} ms for a request, {how})"
    )


def _steady(target: Http) -> str:
    seen = target.steadiness
    if seen is None or not seen.moved:
        return "the same bytes get the same answer"
    return f"{seen.flips:.0%} of repeated questions get another class, {seen.moved:.0%} another answer"


def _spent(target: Http) -> str:
    bill = target.bill
    return f"{bill.attempts:,} requests so far"


def _notes(plan: Plan, target: Http, silent: int) -> Iterator[str]:
    if any(math.isinf(s.threat.queries) for s in plan.sieges):
        yield "a threat sets no limit to its queries; say queries = ... under it, or a budget under [target.http.budget]"
    if silent:
        yield f"{silent} of {ROWS} clean rows got no answer; such rows are not attacked"
    seen = target.steadiness
    if seen is not None and seen.moved and not target.randomised:
        yield "it is not deterministic: say randomised = true under [target.http], so that a success counts by the majority of nine more answers"


def _spread(count: int) -> Tensor:
    import torch

    return torch.linspace(0, count - 1, min(ROWS, count)).round().long().unique()
