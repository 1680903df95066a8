"""Verdicts: whole intervals decide, doubts and missing findings never pass, and the worst of several is the exit code."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.record import Doubt, Finding, Promise, Record
from vauban.campaign.verdict import Verdict, judge, judgements, verdict, worst
from vauban.measure.rate import Rate


def record(doubts: tuple[Doubt, ...] = (), complete: bool = True) -> Record:
    finding = Finding(ThreatCard("t", "", "score", "l2", 0.5, "any"), Rate(90, 100), Rate(95, 100), "all rows", (), doubts=doubts)
    return Record(
        "", TargetCard("m", "torch", "gradient", "logits", ("a", "b")), DataCard("d", 100, (4,), "", 0, 1), (finding,), complete=complete
    )


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0, 1))
def test_an_interval_above_holds_below_breaches_and_astride_decides_nothing(pair: tuple[int, int], least: float) -> None:
    rate = Rate(*pair)
    found, reason = judge(rate, least)
    doubted, _ = judge(rate, least, ["a doubt"])
    low, high = rate.interval
    if rate.rows == 0:
        assert found is Verdict.UNABLE
    elif low >= least:
        assert (found, doubted) == (Verdict.HOLDS, Verdict.INCONCLUSIVE)
    elif high < least:
        assert (found, doubted) == (Verdict.BREACHED, Verdict.BREACHED), "a doubt cannot excuse a breach"
    else:
        assert (found, doubted) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
        assert "rows" in reason
    assert "\n" not in reason


def test_an_undecided_verdict_says_how_many_rows_would_decide() -> None:
    assert "about 1537 rows would decide" in judge(Rate(78, 100), 0.8)[1]
    assert "no practical number of rows" in judge(Rate(80, 100), 0.8)[1]


def test_exit_codes_and_their_order() -> None:
    assert [int(v) for v in (Verdict.HOLDS, Verdict.BREACHED, Verdict.UNABLE, Verdict.INCONCLUSIVE)] == [0, 1, 2, 3]
    ranked = [Verdict.BREACHED, Verdict.UNABLE, Verdict.INCONCLUSIVE, Verdict.HOLDS]
    for some in itertools.chain.from_iterable(itertools.permutations(ranked, k) for k in range(1, 5)):
        assert worst(some) is ranked[min(ranked.index(v) for v in some)]
    assert worst([]) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("promise", "expected"),
    [
        (Promise("t", 0.5), Verdict.HOLDS),
        (Promise("t", 0.99), Verdict.BREACHED),
        (Promise("t", 0.9), Verdict.INCONCLUSIVE),
        (Promise("t", None, 0.9), Verdict.INCONCLUSIVE),
        (Promise("t", 0.5, 0.999), Verdict.BREACHED),
        (Promise("other", 0.1), Verdict.UNABLE),
        (Promise("t"), Verdict.HOLDS),
        (Promise("t", float("nan")), Verdict.HOLDS),
    ],
)
def test_a_promise_is_held_against_its_threat(promise: Promise, expected: Verdict) -> None:
    assert verdict(record(), [promise]) is expected


def test_both_metrics_of_a_promise_are_judged() -> None:
    found = judgements(record(), [Promise("t", 0.5, 0.5), Promise("other", 0.1)])
    assert [(j.threat, j.metric, j.verdict) for j in found] == [
        ("t", "robust accuracy", Verdict.HOLDS), ("t", "clean accuracy", Verdict.HOLDS), ("other", "robust accuracy", Verdict.UNABLE),
    ]  # fmt: skip
    assert found[2].rate is None


def test_doubts_touch_robustness_and_not_clean_accuracy() -> None:
    doubted = record(doubts=(Doubt("d", "a reason"),))
    assert verdict(doubted, [Promise("t", 0.5)]) is Verdict.INCONCLUSIVE
    assert "a reason" in judgements(doubted, [Promise("t", 0.5)])[0].reason
    assert verdict(doubted, [Promise("t", None, 0.5)]) is Verdict.HOLDS
    whole = dataclasses.replace(record(), doubts=(Doubt("d", "of the whole campaign"),))
    assert verdict(whole, [Promise("t", 0.5)]) is Verdict.INCONCLUSIVE


def test_an_unfinished_campaign_is_at_best_unable() -> None:
    for promise, expected in (
        (Promise("t", 0.5), Verdict.UNABLE),
        (Promise("t", 0.9), Verdict.UNABLE),
        (Promise("t", 0.99), Verdict.BREACHED),
    ):
        assert verdict(record(complete=False), [promise]) is expected
    assert verdict(record(complete=False), []) is Verdict.UNABLE


def test_the_records_own_promises_are_the_default() -> None:
    assert verdict(dataclasses.replace(record(), promises=(Promise("t", 0.99),))) is Verdict.BREACHED
    assert verdict(record()) is Verdict.HOLDS
