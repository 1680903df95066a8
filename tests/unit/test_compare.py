"""Two records are paired on what they share, and a drop that is more than chance is a breach."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.compare import CLEAN, ROBUST, compare, fisher, judge_baseline
from vauban.campaign.record import AttackResult, Doubt, Finding, Record, pack_bits, pack_ids
from vauban.campaign.verdict import Verdict
from vauban.measure.rate import Rate

CARD = ThreatCard("insider", "gradient access, Linf within 8/255", "gradient", "linf", 8 / 255, "any wrong class")
CLEAN_RATE = Rate(90, 100)


def finding(held: dict[int, bool], clean: Rate = CLEAN_RATE, card: ThreatCard = CARD, **more: object) -> Finding:
    ids = sorted(held)
    robust = Rate(sum(held.values()), len(held))
    values = {"attacks": (), "rows": pack_ids(ids), "held": pack_bits([held[i] for i in ids]), **more}
    return Finding(card, robust, clean, "all rows", **values)  # type: ignore[arg-type]


def record(*findings: Finding, sha: str = "d", doubts: tuple[Doubt, ...] = ()) -> Record:
    target = TargetCard("m", "torch", "gradient", "logits", ("a", "b"))
    return Record("t", target, DataCard("d.npz", 100, (2,), sha, 0.0, 1.0), findings, doubts=doubts)


def rows(n: int, standing: int) -> dict[int, bool]:
    return {i: i < standing for i in range(n)}


@given(st.dictionaries(st.integers(0, 60), st.booleans(), min_size=1), st.dictionaries(st.integers(0, 60), st.booleans(), min_size=1))
def test_rows_are_paired_by_their_id(old: dict[int, bool], new: dict[int, bool]) -> None:
    (pair,) = compare(record(finding(old)), record(finding(new))).pairs
    shared = old.keys() & new.keys()
    if not shared:
        assert pair.robust is None
        assert "share no row" in pair.why
        return
    table = [sum((old[i], new[i]) == cell for i in shared) for cell in ((True, True), (True, False), (False, True), (False, False))]
    assert [pair.both, pair.only_old, pair.only_new, pair.neither] == table
    assert pair.robust is not None
    assert pair.robust.old == Rate(table[0] + table[1], len(shared))
    assert pair.robust.new == Rate(table[0] + table[2], len(shared))
    split = table[1] + table[2]
    assert pair.robust.p == pytest.approx(binomtest(table[1], split).pvalue if split else 1.0)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_fisher_agrees_with_scipy(n: int, m: int, a: float, b: float) -> None:
    k, h = round(a * n), round(b * m)
    assert fisher(k, n, h, m) == pytest.approx(fisher_exact([[k, n - k], [h, m - h]]).pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (rows(100, 60), rows(100, 60), Verdict.HOLDS),
        (rows(100, 60), rows(100, 80), Verdict.HOLDS),
        (rows(100, 60), rows(100, 59), Verdict.HOLDS),  # within the tolerance
        (rows(100, 60), rows(100, 55), Verdict.INCONCLUSIVE),  # 5 rows alone: p = 2 / 2^5 = 0.0625
        (rows(100, 60), rows(100, 54), Verdict.BREACHED),  # 6 rows alone: p = 2 / 2^6 = 0.03125
        (rows(1000, 600), rows(1000, 594), Verdict.BREACHED),  # significant, however small
    ],
)
def test_a_drop_that_is_more_than_chance_is_a_breach(old: dict[int, bool], new: dict[int, bool], verdict: Verdict) -> None:
    judged = judge_baseline(compare(record(finding(old)), record(finding(new))))
    assert [(j.metric, j.verdict) for j in judged] == [(ROBUST, verdict), (CLEAN, Verdict.HOLDS)]


def test_tolerance_decides_how_much_lower_may_look() -> None:
    comparison = compare(record(finding(rows(100, 60))), record(finding(rows(100, 57))))
    assert judge_baseline(comparison, tolerance=0.02)[0].verdict is Verdict.INCONCLUSIVE
    assert judge_baseline(comparison, tolerance=0.03)[0].verdict is Verdict.HOLDS


def test_clean_accuracy_that_dropped_is_a_breach_told_once() -> None:
    other = replace(CARD, name="other")
    old = record(finding(rows(9, 5)), finding(rows(9, 5), card=other))
    new = record(finding(rows(9, 5), Rate(60, 100)), finding(rows(9, 5), Rate(60, 100), card=other))
    assert [(j.threat, j.metric, j.verdict) for j in judge_baseline(compare(old, new))] == [
        ("insider", ROBUST, Verdict.HOLDS),
        ("insider", CLEAN, Verdict.BREACHED),
        ("other", ROBUST, Verdict.HOLDS),
    ]


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (record(finding(rows(9, 5)), sha="e"), "the runs attacked different rows"),
        (record(), "the new run has no such threat"),
        (
            record(finding(rows(9, 5), card=replace(CARD, eps=0.5, queries=9.0))),
            "eps was 0.0313725 and is 0.5, queries was unlimited and is 9",
        ),
        (record(finding({20: True})), "share no row"),
    ],
)
def test_what_cannot_be_paired_says_why_and_is_unable(new: Record, why: str) -> None:
    comparison = compare(record(finding(rows(9, 5))), new)
    assert why in comparison.pairs[0].why
    assert not comparison.paired
    assert judge_baseline(comparison)[0].verdict is Verdict.UNABLE


def test_a_threat_whose_wording_changed_is_the_same_threat() -> None:
    assert compare(record(finding(rows(9, 5))), record(finding(rows(9, 5), card=replace(CARD, text="said otherwise")))).paired


def test_an_added_threat_is_told_and_not_judged() -> None:
    comparison = compare(record(finding(rows(9, 5))), record(finding(rows(9, 5)), finding(rows(9, 1), card=replace(CARD, name="new"))))
    assert comparison.added == ("new",)
    assert {j.threat for j in judge_baseline(comparison)} == {"insider"}


def test_other_attacks_and_rows_of_one_run_alone_are_noted() -> None:
    pgd = AttackResult("pgd", "pgd", {"steps": 40}, "", "", "", "", 9, 4, 5, 1, 1, 0, 0, 1)
    (pair,) = compare(record(finding(rows(9, 5), attacks=(pgd,))), record(finding(rows(12, 5)))).pairs
    assert "the attacks differ (pgd; now none)" in pair.notes[0]
    assert "0 rows were attacked in the old run alone and 3 in the new run alone" in pair.notes[1]
    weaker = replace(pgd, settings={"steps": 4})
    (pair,) = compare(record(finding(rows(9, 5), attacks=(pgd,))), record(finding(rows(9, 5), attacks=(weaker,)))).pairs
    assert "in their settings" in pair.notes[0]


def test_a_new_doubt_makes_holding_inconclusive_and_an_old_one_does_not() -> None:
    doubted = record(finding(rows(9, 5), doubts=(Doubt("zero-gradients", "gradients vanish"),)))
    sound = record(finding(rows(9, 5)))
    assert judge_baseline(compare(sound, doubted))[0].verdict is Verdict.INCONCLUSIVE
    assert "gradients vanish" in judge_baseline(compare(sound, doubted))[0].reason
    assert judge_baseline(compare(doubted, doubted))[0].verdict is Verdict.HOLDS
    assert judge_baseline(compare(doubted, sound))[0].verdict is Verdict.HOLDS
