"""The policy `banking`, asked of configurations and of guards that run: what it finds is what is so."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import typer
from console_worlds import calibration
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from PIL import Image
from tiny_models import tiny_ensemble
from typer.testing import CliRunner
from whole_guards import FAST, Home, home, image, opened, served

from vauban.cli.edge import guarded
from vauban.cli.guard_check import command
from vauban.cli.output import Output
from vauban.errors import AccessDenied, BadEndpoint
from vauban.guard.client import Client, Device
from vauban.guard.config import GuardFile, read_guard
from vauban.guard.console import console_app
from vauban.guard.console.readings.now import now_of
from vauban.guard.keys import make_keys, read_keys
from vauban.guard.policy.banking import Live, judge
from vauban.guard.policy.live import live_of
from vauban.guard.policy.picture import fresh
from vauban.guard.policy.probe import Probe
from vauban.guard.policy.reach import require_address
from vauban.guard.policy.rule import Held, Ruling, exit_code, verdict
from vauban.guard.policy.tried import Tried
from vauban.guard.server.app import create_app
from vauban.guard.server.listen import listening
from vauban.guard.watch.calibration import write_calibration


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
    assert {r.recommendation for r in found if r.held is Held.UNABLE} == {1, 5, 6}, "no training record; no calibration; no rotation yet"
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
        found = list(Probe(client, guard.config, image(0.8)).judge())
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


SCORES = "score distributions are monitored"
SESSION, DEVICE = "a running guard keeps the limit of a session", "a running guard keeps the limit of a device"


def test_scores_are_monitored_only_with_a_calibration_that_can_be_read(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    write_calibration(tmp_path / "good.json", calibration(), read_keys(tmp_path / "keys"))
    (tmp_path / "bad.json").write_text("{}")

    def ruled(watch: str) -> Ruling:
        (tmp_path / "guard.toml").write_text(f"[watch]\n{watch}")
        return next(r for r in judge(read_guard(tmp_path / "guard.toml"), None) if r.question == SCORES)

    assert ruled('calibration = "good.json"').held is Held.HOLDS
    assert ruled('monitors = "off"\ncalibration = "good.json"').held is Held.BREACHED
    for nothing in ("", 'calibration = "bad.json"', 'calibration = "missing.json"'):
        assert ruled(nothing).held is Held.UNABLE
        assert "without" in ruled(nothing).evidence and "no monitor is followed" in ruled(nothing).evidence


@pytest.mark.parametrize(
    "sessions, session, device",
    [
        ([(3, 429), (3, 429), (3, 429), (1, 429), (0, 429)], Held.HOLDS, Held.HOLDS),
        ([(3, 429), (2, 429), (0, 429)], Held.HOLDS, Held.UNABLE),  # the lock-out after five rejections
        ([(3, 429), (0, 429)], Held.UNABLE, Held.UNABLE),  # a lock-out after three
        ([(2, 429), (0, 429)], Held.UNABLE, Held.UNABLE),
        ([(4, 429), (4, 429), (2, 429), (0, 429)], Held.BREACHED, Held.HOLDS),
        ([(3, 429), (3, 429), (3, 429), (2, 202)], Held.HOLDS, Held.BREACHED),
        ([*[(1, 401)] * 10, (0, 429)], Held.UNABLE, Held.HOLDS),  # a session that is over once it is accepted
        ([(3, 429), (3, 429), (3, 429), (1, 429), (0, 401)], Held.HOLDS, Held.UNABLE),
        ([(0, 401)], Held.UNABLE, Held.UNABLE),
        ([], Held.UNABLE, Held.UNABLE),
    ],
)
def test_a_limit_is_kept_only_if_exactly_as_many_are_let_in(sessions: list[tuple[int, int]], session: Held, device: Held) -> None:
    tried = Tried(sessions)
    assert (tried.session(3).held, tried.device(10).held) == (session, device)
    assert tried.session(3).evidence != tried.device(10).evidence


def test_a_lock_out_that_answers_before_the_devices_limit_is_not_taken_for_it(tmp_path: Path) -> None:
    with served(home(tmp_path)) as (guard, client):
        found = {r.question: r for r in Probe(client, guard.config, image(0.1)).limits()}
    assert found[DEVICE].held is Held.UNABLE and "--image" in found[DEVICE].evidence
    assert found[DEVICE].evidence.startswith("5 of 10 attempts") and found[SESSION].held is Held.HOLDS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_attempt_hands_in_another_version_that_shows_the_same(kind: str) -> None:
    given = image(0.8, kind, seed=1, size=(200, 160))
    made = {fresh(given, 2**21) for _ in range(50)}
    small = {Image.open(io.BytesIO(m)).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR).tobytes() for m in made}
    assert len(made) == len(small) == 50, "different as a model sees them too"
    before = np.asarray(Image.open(io.BytesIO(given)).convert("RGB"))
    for m in made:
        after = np.asarray(Image.open(io.BytesIO(m)))
        assert (after != before).any(2).mean() <= 2 / 32**2 * 1.2, "two corners"
    assert len(fresh(image(0.5, size=(400, 400), noise=0.5), 10)) < 400 * 400 * 3


def test_nothing_is_said_of_decisions_where_there_was_none() -> None:
    probe = Probe(Client("http://nowhere", "k"), GuardFile(), seen=[httpx.Response(422, content=b"{}")])
    probe._wrong = lambda: iter(())  # type: ignore[method-assign]
    found = held(list(probe.answers()))
    assert found["a decision is one of two words, or none"] is found["decisions have one length"] is Held.UNABLE
    assert found["no header tells more"] is Held.HOLDS
    probe.seen.clear()
    assert {*held(list(probe.answers())).values(), probe.slots().held} == {Held.UNABLE}


def checked(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(guarded(command))
    done = CliRunner().invoke(app, list(words), obj=Output(plain=True))
    return done.exit_code, " ".join(done.output.split())


def test_what_is_no_image_is_told_before_anything_is_sent(place: Home, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("no picture")
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.png")
    for name, said in (
        ("words.txt", "is no image"),
        ("missing.png", "cannot be read"),
        ("large.png", "3000 x 2000 pixels"),
        ("", "cannot be"),
    ):
        code, told = checked(str(place.file), "--url", "http://127.0.0.1:9", "--key", "k", "--image", str(tmp_path / name))
        assert code == 2 and said in told and "nobody answers" not in told, told


@pytest.mark.parametrize("url", ["notaurl", "ftp://127.0.0.1", "http://", "http://[", "127.0.0.1:8080", "http://a:99999"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(BadEndpoint, match="is no address of a guard"):
        require_address(url)
    require_address("https://guard.example/path"), require_address("http://[::1]:8080")


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, html="<html>hello</html>"), httpx.Response(404, html="<html>"), httpx.Response(201, json=[1]),
               httpx.Response(200, json={"type": "x"}), httpx.Response(500, text="")],
)  # fmt: skip
def test_what_is_no_guard_is_told_in_one_sentence(answer: httpx.Response) -> None:
    client = Client("http://elsewhere", "k", httpx.Client(transport=httpx.MockTransport(lambda _: answer)))
    with pytest.raises(BadEndpoint, match="what answers there is no guard") as told:
        list(Probe(client, GuardFile()).judge())
    assert "<html" not in str(told.value) and len(str(told.value)) < 160


def test_a_guard_that_does_not_know_the_key_says_so(tmp_path: Path) -> None:
    with served(home(tmp_path)) as (guard, client), pytest.raises(AccessDenied, match="does not accept the key"):
        list(Probe(Client(client.url, "another"), guard.config).judge())


def test_the_table_ends_with_a_verdict(place: Home) -> None:
    code, told = checked(str(place.file))
    found = judge(read_guard(place.file), live_of(read_guard(place.file)))
    assert code == 2 and told.endswith(verdict(found))
    assert verdict(found).startswith(f"{sum(r.held is Held.HOLDS for r in found)} hold, 0 breached, ")


def test_the_console_counts_an_attempt_that_was_no_image_as_undecided(tmp_path: Path) -> None:
    at = home(tmp_path)
    with served(at) as (guard, bank):
        device = Device()
        session = bank.open(device)
        assert [bank.attempt(session, device, body).status_code for body in (image(0.8), b"\xff\xd8 none")] == [202, 422]
        now = now_of(guard.store, guard.config)
        client = TestClient(console_app(guard), base_url="http://127.0.0.1")
        client.post("/login", data={"key": at.operator})
        page = " ".join(client.get("/").text.split())
    assert (now.undecided, now.day.rows, now.attempts, now.flags) == (1, 1, 2, (("invalid_image", 1),))
    assert "Undecided, 24 hours</span><b>1</b>" in page and "of decided" not in page
    assert 'no image that is accepted</td><td class="n">1</td><td class="n">50' in page


def test_the_command_prints_a_table_and_ends_with_the_code(place: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vauban.cli", "--json", "guard", "check", str(place.file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert {row["held"] for row in json.loads(done.stdout)} == {"holds", "unable"}
