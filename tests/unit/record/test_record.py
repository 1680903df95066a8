"""The record: what is written is what is read, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.record import (
    SCHEMA,
    AttackResult,
    Curve,
    Doubt,
    Finding,
    Group,
    Promise,
    Record,
    pack_bits,
    pack_ids,
    unpack_bits,
    unpack_ids,
    write_atomically,
)
from vauban.errors import BadRun
from vauban.measure.rate import Rate

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=20)
RATE = st.integers(0, 10_000).flatmap(lambda n: st.builds(Rate, st.integers(0, n), st.just(n), st.sampled_from([0.9, 0.95, 0.99])))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBER | TEXT, lambda s: st.lists(s, max_size=3), max_leaves=4
)


def tuples(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(of, max_size=3).map(tuple)


CARD = st.builds(
    ThreatCard,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    eps=st.none() | NUMBER | st.just(math.inf),
    goal=TEXT,
    queries=st.none() | NUMBER,
    lo=NUMBER,
    hi=NUMBER,
)
RESULT = st.builds(
    AttackResult, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=3), *[TEXT] * 4, *[st.integers(0, 2**40)] * 3, *[NUMBER] * 5,
    distance=st.none() | NUMBER, first=tuples(st.integers(-1, 2**40)), most=st.integers(0, 2**40), stopped=TEXT,
)  # fmt: skip
GROUP = st.builds(Group, TEXT, RATE, RATE)
IDS = st.lists(st.integers(0, 2000), unique=True).map(sorted)
FINDING = st.builds(
    Finding, CARD, RATE, RATE, TEXT, tuples(RESULT), curve=st.none() | st.builds(Curve, tuples(NUMBER), tuples(RATE)), classes=tuples(GROUP),
    groups=tuples(GROUP), confusion=tuples(tuples(st.integers(0, 99))), rounding=st.none() | RATE, rows=IDS.map(pack_ids),
    held=st.lists(st.booleans()).map(pack_bits), doubts=tuples(st.builds(Doubt, TEXT, TEXT)), seconds=NUMBER,
)  # fmt: skip
RECORD = st.builds(
    Record, TEXT, st.builds(TargetCard, TEXT, TEXT, TEXT, TEXT, tuples(TEXT), reject=st.none() | st.integers(0, 9)),
    st.builds(DataCard, TEXT, st.integers(0, 99), tuples(st.integers(1, 9)), TEXT, NUMBER, NUMBER), tuples(FINDING),
    promises=tuples(st.builds(Promise, TEXT, st.none() | NUMBER, st.none() | NUMBER)), seed=st.integers(-(2**63), 2**63 - 1),
    versions=st.dictionaries(TEXT, TEXT, max_size=3), complete=st.booleans(),
)  # fmt: skip


def small() -> Record:
    finding = Finding(
        ThreatCard("t", "", "score", "l2", 0.5, "any"),
        Rate(2, 3),
        Rate(3, 3),
        "all rows",
        (),
        rows="0-1,5",
        held=pack_bits([True, False, True]),
    )
    return Record("a title", TargetCard("m", "torch", "gradient", "logits", ("a", "b")), DataCard("d", 3, (4,), "", 0, 1), (finding,))


@given(RECORD)
@settings(max_examples=40, deadline=None)
def test_a_record_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, record: Record) -> None:
    path = tmp_path_factory.mktemp("record") / "record.json"
    record.write(path)
    assert Record.read(path) == record
    assert Record.read(path.parent) == record


def test_a_radius_without_limit_survives() -> None:
    card = ThreatCard("t", "", "score", "l2", math.inf, "any")
    assert card.eps is None
    assert card.radius == math.inf
    assert dataclasses.replace(card, eps=0.5).radius == 0.5


@given(st.lists(st.booleans()))
def test_bits_come_back(bits: list[bool]) -> None:
    back = unpack_bits(pack_bits(bits))
    assert back[: len(bits)] == bits
    assert not any(back[len(bits) :])
    assert len(back) - len(bits) < 8


@given(IDS)
def test_ids_come_back(ids: list[int]) -> None:
    assert unpack_ids(pack_ids(ids)) == ids
    assert pack_ids(range(10_000)) == "0-9999"


def test_standing_pairs_ids_with_verdicts() -> None:
    assert small().findings[0].standing() == {0: True, 1: False, 5: True}


def test_findings_are_had_by_name() -> None:
    record = small()
    assert record["t"] is record.findings[0] is next(iter(record))
    with pytest.raises(KeyError, match="no threat 'x' in this record; it has 't'"):
        _ = record["x"]
    assert record["t"].robust_accuracy == pytest.approx(2 / 3)
    assert record["t"].attack_success == pytest.approx(1 / 3)
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a record"),
        ("{", "not a record"),
        ("[]", "not a record"),
        ("{}", "not a record"),
        (json.dumps({"schema": SCHEMA}), "not a record"),
        (json.dumps({"schema": SCHEMA + 1}), f"has format {SCHEMA + 1} and this Vauban reads format {SCHEMA}"),
    ],
)
def test_a_damaged_or_foreign_record_is_refused_in_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(BadRun, match=sentence):
        Record.read(path)
    with pytest.raises(BadRun, match="no record can be read there"):
        Record.read(tmp_path / "other.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "record.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["record.json"], "nothing is left beside it"
