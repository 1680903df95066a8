"""`vauban check` and `vauban audit` against a real server: what is said first, a run that is killed and gone on with, and no secret anywhere."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from children import start
from endpoints import Endpoint, scores

from vauban.campaign.file import plan_of, read_file
from vauban.campaign.record import Record
from vauban.campaign.run import audit_plan
from vauban.cli.endpoint import outlook
from vauban.errors import BadEndpoint, BadPlan, BudgetSpent, NotAuthorised
from vauban.target.http import Http, Rate

SECRET = "open-sesame-42"
CAMPAIGN = """
title = "endpoint"
[target]
load = "{url}"
outputs = "probabilities"
[target.http.authorisation]
statement = "We own this service; ticket 12."
allowed_hosts = ["{host}"]
[target.http.request]
encode = "png"
headers = {{ Authorization = "Bearer ${{TEST_TOKEN}}" }}
[target.http.answer]
scores = "p"
[target.http.retry]
first = 0.01
most = 0.05
[target.http.cost]
per_row = 0.01
unit = "EUR"
[data]
load = "d.npz"
classes = ["cat", "dog", "owl"]
[[threat]]
name = "outsider"
eps = "16/255"
queries = 40
attack = [{{ name = "square" }}]
[run]
chunk = 5
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def campaign(server: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    server.reset()
    monkeypatch.setenv("TEST_TOKEN", SECRET)
    levels = np.random.default_rng(1).integers(0, 256, (15, 1, 6, 6))
    x = (levels / 255).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([scores(row).argmax() for row in x]))
    path = tmp_path / "vauban.toml"
    path.write_text(CAMPAIGN.format(url=server.url("png/probabilities"), host=server.host))
    return path


def words(verb: str) -> list[str]:
    return [sys.executable, "-m", "vauban.cli", "--plain", verb, "vauban.toml"]


def run(campaign: Path, verb: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words(verb), cwd=campaign.parent, env=env, capture_output=True, text=True, check=False, timeout=120)


def audit(campaign: Path) -> Record:
    """An audit in this process."""
    plan = plan_of(read_file(campaign), campaign)
    try:
        return audit_plan(plan, folder=campaign.parent / "runs")
    finally:
        cast("Http", plan.target).close()


def attempts(campaign: Path) -> tuple[int, int]:
    """Attempts in the journal, and how many of them were never completed."""
    with closing(sqlite3.connect(campaign.with_suffix(".journal"))) as db:
        return db.execute("SELECT count(*), count(*) - count(outcome) FROM attempts").fetchone()


def timeless(record: Record) -> str:
    """A record without its times, its versions, and what its endpoint cost: what was lost when it was killed was paid for."""
    record = replace(record, endpoints=())
    return re.sub(r'"(seconds|started|git|command)": ?("[^"]*"|[\d.e+-]+)', "", json.dumps(json.loads(_text(record)), indent=0))


def _text(record: Record) -> str:
    import msgspec

    return msgspec.json.encode(record).decode()


def test_check_says_who_allows_it_and_what_it_costs_before_it_asks(server: Endpoint, campaign: Path) -> None:
    done = run(campaign, "check")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith("allowed 'We own this service; ticket 12.'"))
    asked = next(
        i for i, line in enumerate(lines) if line.startswith("answers 8 of 8 clean rows as labelled; the same bytes get the same answer")
    )
    assert told < asked
    expected = 15 * (1 + 1 + 40 + 3) + 4 * 3
    assert f"cost    at most {expected:,} questions in {expected:,} requests" in done.stdout
    assert f"{expected / 100:.2f} EUR" in done.stdout
    assert len(server.log) == 4 * 3 + 8 == attempts(campaign)[0]


def test_check_sends_nothing_where_the_estimate_cannot_be_told(server: Endpoint, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().replace(server.host + '"]', 'api.example.com"]'))
    done = run(campaign, "check")
    assert done.returncode == 2 and "which the authorisation does not allow" in done.stderr
    assert not server.log


def test_audit_says_who_allows_it_and_what_it_costs_before_it_asks(server: Endpoint, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + "[target.http.budget]\nmoney = 9\n")
    server.faults("401")
    done = run(campaign, "audit")
    assert done.returncode == 2 and "401 Unauthorized" in done.stderr, "the first question ended it"
    expected = 15 * (1 + 1 + 40 + 3) + 4 * 3
    lines = done.stdout.splitlines()
    assert lines[0] == f"allowed 'We own this service; ticket 12.', for {server.host}"
    assert lines[1].startswith(f"cost    at most {expected:,} questions in {expected:,} requests")
    assert lines[2] == "budget  9 money: the campaign stops there"
    assert len(server.log) <= 8, "those that were under way, and not the other hundreds"


COPY = """
[[surrogate]]
name = "copy"
load = "default"
[surrogate.train]
questions = 60
rounds = 1
epochs = 2
data = { load = "own.npz", classes = ["cat", "dog", "owl"] }
"""


@pytest.fixture
def copied(campaign: Path) -> Path:
    """The campaign, with a surrogate that is trained with the endpoint's answers."""
    x = (np.random.default_rng(2).integers(0, 256, (40, 1, 6, 6)) / 255).astype(np.float32)
    np.savez(campaign.parent / "own.npz", x=x, y=np.array([scores(row).argmax() for row in x]))
    text = campaign.read_text().replace('attack = [{ name = "square" }]', 'surrogate = ["copy"]\nattack = [{ name = "mi-fgsm" }]')
    campaign.write_text(text + COPY)
    return campaign


def test_a_surrogate_is_trained_with_an_endpoint_only_once_it_was_said_what_that_costs(server: Endpoint, copied: Path) -> None:
    plan = plan_of(read_file(copied), copied)
    target = cast("Http", plan.target)
    assert not server.log, "a plan sends nothing"
    assert outlook(plan, target).queries == 15 * (1 + 1 + 40 + 3) + 4 * 3 + 60
    target.close()
    server.faults("401")
    done = run(copied, "audit")
    assert done.stdout.startswith("allowed") and "401" in done.stderr
    server.faults()
    record = audit(copied)
    assert record.complete
    book = record["outsider"].ledger
    assert book is not None and book.shared == 60
    sent, lost = attempts(copied)
    assert sent - lost <= len(server.log) <= sent


@pytest.mark.parametrize("lost", [("record.json",), ("record.json", "chunks/outsider/0002.json")], ids=["record", "chunk"])
def test_a_run_with_a_trained_surrogate_is_gone_on_with_and_asks_nothing_again(
    server: Endpoint, copied: Path, lost: tuple[str, ...]
) -> None:
    whole = audit(copied)
    asked = len(server.log)
    (folder,) = copied.parent.glob("runs/*")
    for name in lost:
        (folder / name).unlink()
    again = audit(copied)
    assert timeless(again) == timeless(whole)
    assert list(copied.parent.glob("runs/*")) == [folder], "the same plan, so the same run"
    assert len(server.log) == asked


def test_the_record_holds_what_the_endpoint_cost(server: Endpoint, campaign: Path) -> None:
    server.faults(*["", "500", "429 0.01", "", "cut"] * 3)
    record = audit(campaign)
    (bill,) = record.endpoints
    assert (bill.attempts, bill.lost) == attempts(campaign)
    assert bill.attempts == bill.rows == len(server.log) > bill.requests == bill.answered
    assert (bill.refused, bill.failed, bill.repeated, bill.moved) == (0, 0, 8, 0)
    assert bill.money == pytest.approx(0.01 * (bill.attempts - 3)) and bill.unit == "EUR", "what was turned away by a 429 is not billed"
    assert bill.sent > bill.received > 0 and bill.seconds > 0
    assert (bill.statement, bill.hosts) == ("We own this service; ticket 12.", (server.host,))
    (folder,) = campaign.parent.glob("runs/*")
    assert Record.read(folder).endpoints == (bill,)
    assert f"got {bill.requests:,} requests, {bill.attempts - bill.requests} of them sent again" in (folder / "report.html").read_text()


def test_killed_at_any_moment_and_gone_on_with_it_asks_no_answered_question_twice(server: Endpoint, campaign: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("d.npz", "vauban.toml"):
        (alone / name).write_bytes((tmp_path / name).read_bytes())
    assert run(alone / "vauban.toml", "audit").returncode == 0
    left_alone = server.asked
    assert len(server.log) == attempts(alone / "vauban.toml")[0]

    server.reset()
    server.delay(0.005)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    for most in (5, 60, 150):
        process = start(words("audit"), campaign.parent, env)
        end = time.monotonic() + 60
        while len(server.log) < most and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    lost = attempts(campaign)[1]
    assert lost <= 3 * 4, "no more is lost than was under way"
    server.delay(0.0)
    assert run(campaign, "audit").returncode == 0
    with closing(sqlite3.connect(campaign.with_suffix(".journal"))) as db:
        in_flight = Counter(
            sha for (sha,) in db.execute("SELECT sha256 FROM sent JOIN attempts ON attempts.id = sent.attempt WHERE outcome IS NULL")
        )
    asked = server.asked
    assert all(asked[sha] <= left_alone[sha] + in_flight[sha] for sha in asked), "an answered question was asked twice"
    assert sum(asked.values()) <= attempts(campaign)[0] <= sum(asked.values()) + lost

    (one,), (two,) = (list(folder.glob("runs/*")) for folder in (alone, tmp_path))
    assert timeless(Record.read(one)) == timeless(Record.read(two))
    before = len(server.log)
    assert run(campaign, "audit").returncode == 0
    assert len(server.log) == before, "a finished run asked"


def test_interrupted_with_faults_the_ledger_is_what_the_server_saw(server: Endpoint, campaign: Path) -> None:
    server.faults(*["", "", "500", "429 0.01", "", "cut", "html", "", "drop", "503 0.01"] * 4)
    assert audit(campaign).complete
    assert (len(server.log), 0) == attempts(campaign)


def test_an_endpoint_that_goes_down_stops_the_run_and_the_next_one_goes_on(server: Endpoint, campaign: Path) -> None:
    server.faults(*[""] * 60, "always 500")
    with pytest.raises(BadEndpoint, match="requests in a row failed"):
        audit(campaign)
    so_far = server.asked
    server.faults()
    assert audit(campaign).complete
    # the ledger never counts too few; attempts under way when the run was stopped were entered, and may not have reached the service
    assert len(server.log) <= attempts(campaign)[0] < len(server.log) + Rate().concurrency
    assert sum(so_far.values()) > 60


def test_no_file_holds_a_secret(server: Endpoint, campaign: Path) -> None:
    server.faults(*[""] * 30, "401")
    done = run(campaign, "audit")
    assert done.returncode == 2 and "401 Unauthorized" in done.stderr
    server.faults()
    again = run(campaign, "audit")
    assert again.returncode == 0
    assert {line["authorisation"] for line in server.log} == {f"Bearer {SECRET}"}
    assert SECRET not in done.stdout + done.stderr + again.stdout + again.stderr
    files = [p for p in campaign.parent.rglob("*") if p.is_file()]
    assert len(files) > 10
    assert not [p for p in files if SECRET.encode() in p.read_bytes()]


def test_pace_and_budget_may_change_while_a_run_is_gone_on_with(server: Endpoint, campaign: Path) -> None:
    whole = campaign.read_text()
    campaign.write_text(whole + "\n[target.http.budget]\nrequests = 70\n")
    with pytest.raises(BudgetSpent, match="budget of 70 requests is spent"):
        audit(campaign)
    assert len(server.log) <= 70
    campaign.write_text(whole + "\n[target.http.rate]\nconcurrency = 2\n")
    assert audit(campaign).complete
    assert len(list(campaign.parent.glob("runs/*"))) == 1, "another run was begun"
    assert len(server.log) == attempts(campaign)[0] - attempts(campaign)[1]


@pytest.mark.parametrize(
    ("old", "new", "kind", "sentence"),
    [
        ("Bearer ${TEST_TOKEN}", "Bearer abcdef", BadPlan, "Authorization holds a secret"),
        ("TEST_TOKEN", "NO_SUCH_TOKEN", BadPlan, "NO_SUCH_TOKEN is not set"),
        ('scores = "p"', 'scores = "p["', BadPlan, "no JMESPath"),
        ('encode = "png"', 'encode = "gif"', BadPlan, "encode"),
        ('encode = "png"', 'encoding = "png"', BadPlan, "did you mean 'encode'"),
        ("ticket 12", "", None, ""),
        ('statement = "We own this service; ticket 12."', "", BadPlan, "'statement' is missing"),
        ("[target.http.authorisation]", "[target.http.authorization]", BadPlan, "did you mean 'authorisation'"),
        ("http://127", "https://example.org/127", NotAuthorised, "'example.org'"),
        ("http://127", "model.py:127", BadPlan, "is about an endpoint"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_line(
    campaign: Path, old: str, new: str, kind: type[Exception] | None, sentence: str
) -> None:
    campaign.write_text(campaign.read_text().replace(old, new, 1))
    if kind is None:
        assert plan_of(read_file(campaign), campaign).target.kind == "http"
        return
    with pytest.raises(kind, match=rf"vauban\.toml:\d+: .*{re.escape(sentence)}") as error:
        plan_of(read_file(campaign), campaign)
    assert "abcdef" not in str(error.value)


def test_an_endpoint_needs_its_table(campaign: Path) -> None:
    campaign.write_text('[target]\nload = "https://example.org/x"\n[data]\nload = "d.npz"\n[[threat]]\nname = "a"\neps = 0.1\n')
    with pytest.raises(BadPlan, match=r"\[target.http\] is missing"):
        read_file(campaign)
