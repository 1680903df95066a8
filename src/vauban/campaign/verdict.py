"""Hold a record against what was promised. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from vauban.campaign.record import Finding, Promise, Record
from vauban.measure import rows_to_decide
from vauban.measure.rate import Rate


class Verdict(IntEnum):
    """How a promise fared. The value is the exit code."""

    HOLDS = 0
    BREACHED = 1
    UNABLE = 2
    INCONCLUSIVE = 3


SEVERITY = (Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.UNABLE, Verdict.BREACHED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One promise, judged: the verdict and the sentence that gives its reason.

    Attributes:
        threat: the threat's name.
        metric: "robust accuracy" or "clean accuracy".
        promised: the least value promised.
        rate: what was measured; None when it was not.
        verdict, reason: the outcome and why, in one sentence.
        waived: the waiver that excuses a breach, if one does.
    """

    threat: str
    metric: str
    promised: float
    rate: Rate | None
    verdict: Verdict
    reason: str
    waived: str = ""


def judge(rate: Rate, least: float, doubts: Sequence[str] = ()) -> tuple[Verdict, str]:
    """Hold one rate against the least value promised.

    It holds only if its whole interval does and nothing casts doubt on it; it is breached only if its whole interval is below.

    >>> judge(Rate(90, 100), 0.5)[0].name, judge(Rate(10, 100), 0.5)[0].name, judge(Rate(50, 100), 0.5)[0].name
    ('HOLDS', 'BREACHED', 'INCONCLUSIVE')
    """
    if rate.rows == 0:
        return Verdict.UNABLE, "no row could be attacked, so nothing was measured"
    low, high = rate.interval
    if high < least:
        return Verdict.BREACHED, f"{rate.value:.1%} is below the promised {least:.1%}, and so is its whole interval [{low:.1%}, {high:.1%}]"
    if low < least:
        need = rows_to_decide(rate.value, least, rate.level)
        advice = f"about {need} rows would decide" if need and need > rate.rows else "no practical number of rows would decide"
        return Verdict.INCONCLUSIVE, f"{rate.rows} rows cannot tell {rate.value:.1%} from the promised {least:.1%}: {advice}"
    if doubts:
        return Verdict.INCONCLUSIVE, f"{rate.value:.1%} is above the promised {least:.1%}, but doubted: {'; '.join(doubts)}"
    return Verdict.HOLDS, f"{rate.value:.1%} [{low:.1%}, {high:.1%}] keeps the promised {least:.1%}"


def judgements(record: Record, promises: Iterable[Promise] | None = None) -> tuple[Judgement, ...]:
    """Every promise held against the record, in the order they were made."""
    return tuple(j for p in (record.promises if promises is None else promises) for j in _judge_promise(record, p))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Several verdicts as one: breached before unable before inconclusive before holds."""
    return max(verdicts, key=SEVERITY.index, default=Verdict.HOLDS)


def verdict(record: Record, promises: Iterable[Promise] | None = None) -> Verdict:
    """The record's one verdict. An unfinished campaign is at best unable; one without promises holds."""
    reached = worst(j.verdict for j in judgements(record, promises))
    return reached if record.complete else worst([reached, Verdict.UNABLE])


def _judge_promise(record: Record, promise: Promise) -> Iterable[Judgement]:
    finding = next((f for f in record.findings if f.name == promise.threat), None)
    for metric, least in (("robust accuracy", promise.robust_accuracy), ("clean accuracy", promise.clean_accuracy)):
        if least is None or math.isnan(least):
            continue
        if finding is None:
            yield Judgement(
                promise.threat, metric, least, None, Verdict.UNABLE, f"the record has no finding for the threat {promise.threat!r}"
            )
            continue
        yield _judge_metric(record, finding, metric, least)


def _judge_metric(record: Record, finding: Finding, metric: str, least: float) -> Judgement:
    clean = metric == "clean accuracy"
    rate = finding.clean if clean else finding.robust
    doubts = [] if clean else [d.text for d in (*record.doubts, *finding.doubts)]
    outcome, reason = judge(rate, least, doubts)
    return Judgement(finding.name, metric, least, rate, outcome, reason)
