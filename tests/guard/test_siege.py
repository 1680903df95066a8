"""Our own attacks against a guard, through its real HTTP interface: what it lets in is what its limits say, whatever the attack wants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import SIZE
from whole_guards import FAST, Home, home, served

from vauban.attacks import boundary, rays, square
from vauban.doors import Oracle
from vauban.errors import BadData, BadPlan, NotAuthorised, NotGranted
from vauban.guard.client import Client
from vauban.guard.storage import Store
from vauban.target.guarded import Guarded, over_http
from vauban.target.http import Authorisation
from vauban.threat import Access, Ball, Goal, Threat

ALLOWED = Authorisation("our own guard, started by this test", ("127.0.0.1",))
SPOOFS = torch.full((3, 3, *SIZE), 0.44) + 0.02 * torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
DIRECT = FAST + '[session]\nattempts = 5\nmode = "direct"\n[lockout]\nfails = 1000\n'
PASSED = Goal(wanted=0, sources=(1,))


class Clock:
    """Tells the guard's time and the attacker's, and lets it pass."""

    def __init__(self, days: float) -> None:
        self.now = 1_790_000_000.0
        self.end = self.now + 86400 * days

    def __call__(self, *_: object) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now <= self.end


def threat(queries: int, eps: float = 0.3) -> Threat:
    return Threat("customer", Ball(eps), goal=PASSED, access=Access.LABEL, queries=queries)


def test_a_square_attack_is_not_granted_for_there_are_no_scores(tmp_path: Path) -> None:
    with served(home(tmp_path, DIRECT)) as (_, client):
        o = Oracle(Guarded(client, ALLOWED), SPOOFS, torch.ones(3, dtype=torch.int64), threat(10))
        with pytest.raises(NotGranted):
            square(o)


def test_one_device_asks_ten_times_in_a_day_and_no_more(tmp_path: Path) -> None:
    with served(home(tmp_path, DIRECT)) as (_, client):
        target = Guarded(client, ALLOWED, devices=1, pace=0)
        labels = [int(target.labels(SPOOFS[:1] + k / 1000)) for k in range(14)]
    assert labels == [1] * 10 + [-1] * 4
    assert (target.effort.attempts, target.effort.starved) == (10, 4)


def test_devices_times_days_is_what_an_attack_costs(tmp_path: Path) -> None:
    clock = Clock(days=30)
    at = home(tmp_path, DIRECT)
    with served(at, Store(f"sqlite:///{tmp_path / 'guard.db'}", clock=clock, steady=None)) as (_, client):
        target = Guarded(client, ALLOWED, devices=2, wait=clock.wait, clock=clock)
        o = Oracle(target, SPOOFS, torch.ones(3, dtype=torch.int64), threat(40))
        rays(o)
    assert bool(o.outcome.broken.any()), "the tiny models fall to brightness"
    asked = target.effort.attempts
    assert asked <= 10 * 2 * (int(target.effort.days) + 1)
    assert asked >= 10 * 2 * int(target.effort.days), "no device rested longer than it had to"


def test_a_device_that_stays_locked_is_tried_ever_more_rarely_and_a_day_at_most(tmp_path: Path) -> None:
    clock = Clock(days=20)
    at = home(tmp_path, DIRECT.replace("fails = 1000", 'fails = 3\nlock = "1h"\nlocks = 2'))
    with served(at, Store(f"sqlite:///{tmp_path / 'guard.db'}", clock=clock, steady=None)) as (_, client):
        target = Guarded(client, ALLOWED, devices=1, pace=0, wait=clock.wait, clock=clock)
        labels = [int(target.labels(SPOOFS[:1] + k / 1000)) for k in range(10)]
        rests = target.hands[0].refusals
    assert labels[-1] == -1 and target.effort.attempts < 10
    assert 3 <= target.effort.refused <= 40, "an hour apart they would be hundreds"
    assert rests > 0


def test_no_scores_and_pictures_alone(tmp_path: Path) -> None:
    target = Guarded(Client("http://127.0.0.1:9", "k"), ALLOWED)
    with pytest.raises(NotGranted, match="shows no scores"):
        target.scores(SPOOFS)
    with pytest.raises(BadData, match="takes pictures"):
        target.wire(torch.zeros(2, 5))


def test_an_attacker_with_no_patience_keeps_what_it_has(tmp_path: Path) -> None:
    with served(home(tmp_path, DIRECT)) as (_, client):
        target = Guarded(client, ALLOWED, devices=1, pace=0)
        o = Oracle(
            target, SPOOFS, torch.ones(3, dtype=torch.int64), Threat("c", Ball(0.05, "l2"), goal=PASSED, access=Access.LABEL, queries=50)
        )
        boundary(o)
        assert not bool(o.outcome.broken.any())
    assert target.effort.attempts <= 10 < target.effort.starved


def test_nothing_is_sent_to_a_host_that_nobody_allowed_and_no_key_is_written_down() -> None:
    with pytest.raises(NotAuthorised):
        Guarded(Client("http://bank.example:8080", "k"), ALLOWED)
    with pytest.raises(BadPlan, match="environment variable"):
        over_http("http://127.0.0.1:1", "secret", ALLOWED, devices=1, pace=1, days=0, direct=False, accepted=0, name="")


def test_audit_attacks_a_guard_that_a_campaign_file_names(tmp_path: Path) -> None:
    at: Home = home(tmp_path / "guard", DIRECT)
    x = torch.cat([SPOOFS, SPOOFS[:1] + 0.3])
    y, classes = np.array([1, 1, 1, 0]), np.array(["live", "spoof"])
    np.savez(tmp_path / "faces.npz", x=(x.numpy() * 255).round().astype(np.uint8), y=y, classes=classes)
    with served(at) as (guard, client):
        (tmp_path / "vauban.toml").write_text(f"""
[target]
load = "{client.url}"
[target.guard]
devices = 5
pace = 0
direct = true
[target.guard.authorisation]
statement = "our own guard, started by this test"
allowed_hosts = ["127.0.0.1"]
[data]
load = "faces.npz"
[[threat]]
name = "customer"
access = "label"
norm = "linf"
eps = 0.3
queries = 8
goal = {{ wanted = "live", from = ["spoof"] }}
attack = [{{ name = "rays" }}]
""")
        command = [sys.executable, "-m", "vauban.cli", "--json", "audit", "--run", "run"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"VAUBAN_GUARD_KEY": client.key, "PATH": "/usr/bin"}
        )
        assert done.returncode in {0, 3}, done.stderr
    told = json.loads((tmp_path / "run" / "record.json").read_text())
    assert told["findings"][0]["robust"]["rows"] == 3
    assert client.key not in (tmp_path / "run" / "record.json").read_text() + (tmp_path / "run" / "events.jsonl").read_text()
    assert guard.node.name
