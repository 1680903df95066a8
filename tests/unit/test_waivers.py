"""A waiver excuses one breach until its day is over, and says so; anything malformed is refused with its line."""

import datetime
from pathlib import Path

import pytest

from vauban.campaign.verdict import Judgement, Verdict
from vauban.campaign.waivers import Waiver, apply, read_waivers
from vauban.errors import BadPlan
from vauban.measure.rate import Rate

GOOD = """# signed off in the release meeting
[[waiver]]
threat = "insider"
metric = "robust accuracy"
until = 2027-01-31
reason = "ships hardened in 13"
by = "A. Rossi"
"""
LAST = datetime.date(2027, 1, 31)
WAIVER = Waiver("insider", "robust accuracy", LAST, "ships hardened in 13", "A. Rossi")


def judgement(verdict: Verdict, threat: str = "insider", metric: str = "robust accuracy") -> Judgement:
    return Judgement(threat, metric, 0.5, Rate(1, 10), verdict, "because")


def test_a_waiver_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(GOOD)
    assert read_waivers(tmp_path / "w.toml") == (WAIVER,)
    (tmp_path / "w.toml").write_text("")
    assert read_waivers(tmp_path / "w.toml") == ()


def test_a_waived_breach_counts_as_holding_through_its_last_day_and_stays_a_breach() -> None:
    done = apply([judgement(Verdict.BREACHED)], [WAIVER], LAST)
    assert done.counting == (Verdict.HOLDS,)
    assert done.judgements[0].verdict is Verdict.BREACHED
    assert done.judgements[0].waived == "until 2027-01-31 by A. Rossi: ships hardened in 13"
    assert done.notes == ()


def test_an_expired_waiver_does_not_count_and_is_said_to_be_expired() -> None:
    done = apply([judgement(Verdict.BREACHED)], [WAIVER], LAST + datetime.timedelta(days=1))
    assert done.counting == (Verdict.BREACHED,)
    assert done.notes == ("the waiver of robust accuracy under 'insider' by A. Rossi expired on 2027-01-31 and does not count",)


def test_a_renewed_waiver_replaces_the_expired_one() -> None:
    renewed = Waiver("insider", "robust accuracy", LAST + datetime.timedelta(days=90), "again", "B")
    for both in ([WAIVER, renewed], [renewed, WAIVER]):
        done = apply([judgement(Verdict.BREACHED)], both, LAST + datetime.timedelta(days=1))
        assert done.counting == (Verdict.HOLDS,)
        assert done.notes == ()


@pytest.mark.parametrize("verdict", [Verdict.UNABLE, Verdict.INCONCLUSIVE, Verdict.HOLDS])
def test_only_a_breach_is_excused(verdict: Verdict) -> None:
    done = apply([judgement(verdict)], [WAIVER], LAST)
    assert done.counting == (verdict,)
    assert "excuses nothing" in done.notes[0]


def test_a_waiver_excuses_its_own_threat_and_metric_alone() -> None:
    others = [judgement(Verdict.BREACHED, threat="other"), judgement(Verdict.BREACHED, metric="clean accuracy")]
    assert apply(others, [WAIVER], LAST).counting == (Verdict.BREACHED, Verdict.BREACHED)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("until = 2027-01-31", 'until = "2027-01-31"', "w.toml:5: [[waiver]] number 1: until = '2027-01-31' must be a date without quotes"),
        (
            "until = 2027-01-31",
            "until = 2027-01-31T00:00:00",
            "w.toml:5: [[waiver]] number 1: until = '2027-01-31 00:00:00' must be a date",
        ),
        ("until = 2027-01-31\n", "", "w.toml:2: [[waiver]] number 1: the key 'until' is missing"),
        (
            "robust accuracy",
            "robust acuracy",
            "w.toml:4: [[waiver]] number 1: metric = 'robust acuracy' is not one; did you mean 'robust accuracy'",
        ),
        ("reason", "raison", "w.toml:6: [[waiver]] number 1: no key 'raison' is known here; did you mean 'reason'"),
        ('"A. Rossi"', '" "', "w.toml:7: [[waiver]] number 1: by must be a text that says something"),
        ('"A. Rossi"', "3", "w.toml:7: [[waiver]] number 1: by must be a text that says something"),
        ("[[waiver]]", "[waiver]", "w.toml:2: waiver must be an array of tables; write [[waiver]]"),
        ("[[waiver]]", "[[waver]]", "w.toml:2: no key 'waver' is known here"),
        ("[[waiver]]", "[[waiver]", "w.toml:2: not TOML: "),
    ],
)
def test_a_malformed_waiver_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "w.toml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(BadPlan) as error:
        read_waivers(tmp_path / "w.toml")
    assert str(error.value).startswith(f"{tmp_path}/{message}")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="no such file; waivers are tables"):
        read_waivers(tmp_path / "none.toml")
