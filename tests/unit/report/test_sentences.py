"""The sentences: what a risk committee reads agrees with the numbers, for every kind of threat and verdict."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.campaign.cards import ThreatCard
from vauban.campaign.record import Finding, Record
from vauban.campaign.verdict import Judgement, Verdict, judgements
from vauban.measure.rate import Rate
from vauban.report.numbers import slug, tidy
from vauban.report.sentences import attacker, finding_sentence, overall, promised, record_sentence
from vauban.threat import INF, Access, Ball, Goal, Patch, Threat, Transformations


def card(**changes: object) -> ThreatCard:
    base = ThreatCard("t", "gradient access, Linf within 8/255, any wrong class", "gradient", "linf", 8 / 255, "any wrong class")
    return replace(base, **changes)


def finding(hits: int, rows: int, clean: int | None = None, **changes: object) -> Finding:
    return Finding(card(**changes), Rate(hits, rows), Rate(rows if clean is None else clean, rows), "all rows", ())


def judged(verdict: Verdict, metric: str = "robust accuracy", promised: float = 0.45, waived: str = "") -> Judgement:
    return Judgement("t", metric, promised, Rate(1, 2), verdict, "because", waived)


def test_the_sentence_states_attacker_share_interval_and_promise():
    said = finding_sentence(finding(540, 1000), [judged(Verdict.HOLDS)], "image")
    assert said == (
        "An attacker with full knowledge of the model who may change each pixel by at most 8/255 gets a wrong answer for 46 of every 100 inputs "
        "(95% interval 43 to 49); the promise of 45% robust accuracy is kept."
    )


@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize(
    "perturbation",
    [
        Ball("8/255"),
        Ball(0.5, "l2"),
        Ball(3, "l1"),
        Ball(10, "l0"),
        Ball(1, "l0"),
        Ball(10, "l0", pixels=True),
        Ball(1, "l0", pixels=True),
        Ball(INF, "l0", pixels=True),
        Patch((3, 5)),
        Ball(),
        Transformations(20, 0.1),
    ],
)
@pytest.mark.parametrize("goal", [Goal(), Goal(wanted=1), Goal.directional(0, 1)])
def test_every_threat_has_a_sentence_of_whole_words(access, perturbation, goal):
    threat = Threat("t", perturbation, access, goal, queries=100)
    for kind in (perturbation.kind, perturbation.text()):
        it = ThreatCard(
            "t",
            threat.text(),
            access.name.lower(),
            kind,
            perturbation.eps,
            goal.text(),
            goal.untargeted,
            100.0,
            allowed=perturbation.text(),
        )
        said = finding_sentence(Finding(it, Rate(30, 100), Rate(90, 100), "all rows", ()), [judged(Verdict.BREACHED)])
        assert said.endswith("is broken.")
        assert "at most 100 questions for each input" in said
        assert ("gets the answer it wants" in said) is not goal.untargeted
        assert not {"inf", "nan", "None", "{"} & set(said.replace(",", " ").split())


def test_a_transformation_is_described_by_its_limits():
    threat = Threat("t", Transformations(20, 0.1), goal=Goal.directional(0, 1))
    it = ThreatCard("t", threat.text(), "gradient", "transformations", 1.0, threat.goal.text(), False, allowed=threat.perturbation.text())
    assert "(rotation within 20 degrees, translation within 10% of the frame)" in attacker(it)


def test_a_patch_is_described_by_its_size_even_where_a_record_says_no_more_than_its_longer_side():
    said = attacker(card(perturbation="patch", eps=5.0, allowed=Patch((3, 5)).text()), "image")
    assert said.endswith("who may put a patch of 3 x 5 pixels anywhere on each input and show there what it likes")
    bare = attacker(card(perturbation="patch", eps=5.0), "image")
    assert bare.endswith("who may put a patch of 5 pixels on each input and show there what it likes")


def test_pixels_are_not_the_values_in_them():
    assert attacker(card(perturbation="pixels", eps=4.0, hi=255.0), "image").endswith("change at most 4 of the pixels, as much as it likes")
    assert attacker(card(perturbation="l0", eps=4.0), "image").endswith("change at most 4 of the pixel values, as much as it likes")
    assert attacker(card(perturbation="l0", eps=4.0)).endswith("change at most 4 of the features, as much as it likes")


def test_an_unlimited_ball_is_called_any_amount():
    assert attacker(card(eps=float("inf"))).endswith("change an input by any amount")


def test_a_box_other_than_the_unit_one_names_its_scale():
    assert attacker(card(eps=8.0, hi=255.0)).endswith("by at most 8 on a scale from 0 to 255")


@pytest.mark.parametrize(
    ("hits", "rows", "share"),
    [
        (0, 500, "all of 500 inputs"),
        (500, 500, "none of 500 inputs"),
        (25, 37, "12 of 37 inputs"),
        (997, 1000, "3 of 1,000 inputs"),
        (540, 1000, "46 of every 100 inputs"),
    ],
)
def test_shares_are_counted_as_people_count(hits, rows, share):
    assert f"for {share} (95% interval" in finding_sentence(finding(hits, rows))


@given(st.integers(1, 5000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_no_share_says_none_or_all_unless_it_is(pair):
    hits, rows = pair
    said = finding_sentence(finding(hits, rows))
    assert ("none of" in said) == (hits == rows)
    assert ("all of" in said) == (hits == 0)
    assert "for 0 of" not in said
    assert "for 100 of every 100" not in said


def test_wrong_answers_that_need_no_attack_are_told_apart():
    assert "46 of every 100 inputs (95% interval 43 to 49), 7 of them without any attack" in finding_sentence(finding(540, 1000, clean=930))
    assert "without any attack" not in finding_sentence(finding(540, 1000, clean=930, untargeted=False, goal="a to b"))


def test_no_eligible_row_is_no_measurement():
    said = finding_sentence(finding(0, 0), [judged(Verdict.UNABLE)])
    assert "found no input to attack" in said
    assert "could not be judged" in said


def test_every_verdict_has_its_words():
    fates = {
        Verdict.HOLDS: "is kept",
        Verdict.BREACHED: "is broken",
        Verdict.UNABLE: "could not be judged",
        Verdict.INCONCLUSIVE: "is undecided",
    }
    for verdict, words in fates.items():
        assert finding_sentence(finding(54, 100), [judged(verdict)]).endswith(f"the promise of 45% robust accuracy {words}.")
    assert finding_sentence(finding(54, 100), [judged(Verdict.BREACHED, waived="until June")]).endswith("is broken, and waived.")
    both = [judged(Verdict.HOLDS), judged(Verdict.HOLDS, "clean accuracy", 0.9)]
    assert finding_sentence(finding(54, 100), both).endswith("the promises of 45% robust and 90% clean accuracy are kept.")
    mixed = [judged(Verdict.HOLDS), judged(Verdict.BREACHED, "clean accuracy", 0.9)]
    assert "45% robust accuracy is kept and the promise of 90% clean accuracy is broken." in finding_sentence(finding(54, 100), mixed)
    assert finding_sentence(finding(54, 100)).endswith("nothing was promised about it.")


def test_promises_of_other_threats_are_passed_over():
    other = replace(judged(Verdict.BREACHED), threat="other")
    assert "nothing was promised" in finding_sentence(finding(54, 100), [other])


def test_a_promise_is_written_as_it_was_made():
    assert [promised(v) for v in (0.45, 0.995, 1.0, 0.07)] == ["45%", "99.5%", "100%", "7%"]


def test_the_record_is_summed_up_by_its_promises(records: dict[str, Record]):
    said = {name: record_sentence(r, judgements(r)) for name, r in records.items()}
    assert said["full"] == "Of 4 promises, 1 is broken and 3 are undecided."
    assert said["empty rows"] == "Both promises could not be judged."
    assert said["unpromised"] == "Nothing was promised; the model was measured under 3 threats."
    assert said["unfinished"].startswith("The run is unfinished")
    assert said["bare"] == "No threat was tried, so nothing is known about this model."


def test_an_unfinished_run_never_holds_and_a_waived_breach_does(record: Record):
    held = [replace(judged(Verdict.BREACHED, waived="until June"), threat="insider")]
    assert overall(record, held) is Verdict.HOLDS
    assert overall(replace(record, complete=False), held) is Verdict.UNABLE
    assert overall(record, [judged(Verdict.INCONCLUSIVE), judged(Verdict.UNABLE)]) is Verdict.UNABLE


@given(st.text(), st.text())
def test_slugs_differ_where_names_do(a: str, b: str):
    assert (slug(a) == slug(b)) == (a == b)
    assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in slug(a))


@given(st.text())
def test_tidy_text_holds_nothing_that_moves_a_cursor(text: str):
    assert tidy(text).isprintable()
    assert tidy(tidy(text)) == tidy(text)
