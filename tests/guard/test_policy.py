"""The policy `banking`, asked of configurations and of guards that run: what it finds is what is so."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.responses import JSONResponse
from tiny_models import tiny_ensemble
from whole_guards import FAST, Home, home, opened, served

from vauban.guard.client import Client
from vauban.guard.config import GuardFile, read_guard
from vauban.guard.policy.banking import Live, judge
from vauban.guard.policy.live import live_of
from vauban.guard.policy.probe import Probe
from vauban.guard.policy.rule import Held, Ruling, exit_code
from vauban.guard.server.app import create_app
from vauban.guard.server.listen import listening


def held(rulings: list[Ruling]) -> dict[str, Held]:
    return {r.question: r.held for r in rulings}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    at = home(tmp_path_factory.mktemp("guard"))
    with opened(at):
        yield at


def test_the_defaults_hold_but_for_training_that_nobody_recorded(place: Home) -> None:
    config = read_guard(place.file)
    found = judge(config, live_of(config))
    assert {r.recommendation for r in found} == {1, 2, 3, 4, 5, 6}
    assert not [r for r in found if r.held is Held.BREACHED]
    assert {r.recommendation for r in found if r.held is Held.UNABLE} == {1, 6}, "no training record; no rotation yet"
    assert exit_code(found) == 2


@pytest.mark.parametrize(
    "text, question",
    [
        ("[session]\nattempts = 6", "3 to 5 attempts a session"),
        ("[session]\nattempts = 2", "3 to 5 attempts a session"),
        ('[limits]\ndevice = { count = 11, window = "24h" }', "at most 10 attempts a device in any 24 h"),
        ('[limits]\ndevice = { count = 10, window = "23h" }', "at most 10 attempts a device in any 24 h"),
        ('[watch]\nmonitors = "off"', "score distributions are monitored"),
        ("[models]\ndays = 100", "an ensemble serves at most 92 days"),
    ],
)
def test_what_the_configuration_breaches_is_named(tmp_path: Path, text: str, question: str) -> None:
    (tmp_path / "guard.toml").write_text(text)
    found = judge(read_guard(tmp_path / "guard.toml"), None)
    assert [r.question for r in found if r.held is Held.BREACHED] == [question]
    assert exit_code(found) == 1


def test_one_family_is_not_diverse_and_old_age_and_the_same_families_again_are_breaches(place: Home, tmp_path: Path) -> None:
    one = tiny_ensemble(tmp_path, place.publisher, "one", families=("mixer",))
    live = Live(one, age=100.0, before=("mixer",), alive=False)
    found = held(judge(GuardFile(), live))
    assert found["2 or 3 models of different families"] is Held.BREACHED
    assert found["the live ensemble is not older than that"] is Held.BREACHED
    assert found["the last rotation was to other architectures"] is Held.BREACHED
    assert found["the monitors read what was decided"] is Held.BREACHED


@pytest.mark.parametrize("method, ruled", [("trades", Held.HOLDS), ("standard", Held.BREACHED)])
def test_a_training_record_tells_adversarial_from_plain(place: Home, method: str, ruled: Held) -> None:
    config = read_guard(place.file)
    live = live_of(config)
    assert live is not None
    record = {"training": {"method": {"name": method}, "threat": {"text": "linf at most 0.0157"}, "kept": {"pgd": 0.61}}}
    models = tuple(m.model_copy(update={"evidence": record}) for m in live.ensemble.manifests)
    found = [
        r
        for r in judge(config, dataclasses.replace(live, ensemble=dataclasses.replace(live.ensemble, manifests=models)))
        if r.recommendation == 1
    ]
    assert {r.held for r in found} == {ruled} and len(found) == 3
    assert "61 % of its held-out rows" in found[0].evidence


def test_a_running_guard_holds_what_it_is_probed_for(tmp_path: Path) -> None:
    at = home(tmp_path, FAST.replace("0.05s", "0.2s"))
    with served(at) as (guard, client):
        found = list(Probe(client, guard.config).judge())
    assert {r.held for r in found} == {Held.HOLDS}, [r for r in found if r.held is not Held.HOLDS]
    assert {r.recommendation for r in found} == {2, 3}


def test_an_endpoint_that_leaks_scores_headers_and_time_is_found_out(tmp_path: Path) -> None:
    at = home(tmp_path, FAST.replace("0.05s", "0.2s"))
    with opened(at) as guard:
        app = create_app(guard)

        @app.middleware("http")
        async def leak(request, call_next):  # type: ignore[no-untyped-def]
            if request.url.path == "/metrics":
                return JSONResponse({})
            answer = await call_next(request)
            if answer.status_code == 202:
                return JSONResponse({"status": "received", "score": 0.123}, 202, {"X-RateLimit-Remaining": "3"})
            return answer

        fast = guard.config.model_copy(update={"listen": guard.config.listen.model_copy(update={"slot": 0.7})}).read_from(tmp_path)
        with listening(app, guard.config) as url:
            found = held(list(Probe(Client(url, at.key), fast).judge()))
    breached = {q for q, h in found.items() if h is Held.BREACHED}
    assert {
        "a decision is one of two words, or none", "no header tells more", "no number that could be a score is in any body",
        "answers leave at the ends of time slots, whatever they are", "nothing else is on the listener of devices",
    } <= breached  # fmt: skip


def test_an_endpoint_that_lets_a_device_try_more_often_than_it_says_is_found_out(tmp_path: Path) -> None:
    at = home(tmp_path, FAST + '[session]\nattempts = 5\n[lockout]\nfails = 100\n[limits]\ndevice = { count = 30, window = "24h" }\n')
    with served(at) as (guard, client):
        told = guard.config.model_copy(update={"limits": GuardFile().limits}).read_from(tmp_path)
        found = held(list(Probe(client, told).limits()))
    assert found["a running guard keeps the limit of a device"] is Held.BREACHED


def test_the_command_prints_a_table_and_ends_with_the_code(place: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vauban.cli", "--json", "guard", "check", str(place.file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert {row["held"] for row in json.loads(done.stdout)} == {"holds", "unable"}
