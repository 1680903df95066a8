"""Processes that race for places, and die in the middle of it: exactly the limit is admitted, and no budget grows back."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from hammer import Plan, hammered
from servers import start, until
from sqlalchemy import func, select

from vauban.guard.keys import make_keys
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.tables import attempts, limits
from vauban.guard.sessions.tables import sessions
from vauban.guard.storage import Store

pytestmark = pytest.mark.slow
PROCESSES = 8
NO_LADDER = {"fails": 10**6}


def plan_for(url: str, folder: Path, devices: int, attempts: int, **config: object) -> Plan:
    """Tables, keys, and processes that begin together in a moment."""
    store = Store(url)
    store.create()
    store.close()
    if not (folder / "keys").exists():
        make_keys(folder / "keys")
    secrets = [random.Random(i).randbytes(32).hex() for i in range(devices)]
    return Plan(url, str(folder / "keys"), {"lockout": NO_LADDER, **config}, secrets, attempts, time.time() + 6)


def kept(url: str) -> tuple[Counter[str], int, set[int], int]:
    """From the database: the totals of all scopes by name, the largest of a device, the attempts' ids, and what sessions have used."""
    store = Store(url)
    with store.read() as tx:
        logs = [(key[1:].partition(":")[0], unpacked(log).total) for key, log in tx.run(select(limits.c.key, limits.c.log))]
        ids = set(tx.run(select(attempts.c.id)).scalars())
        used = tx.run(select(func.coalesce(func.sum(sessions.c.used), 0))).scalar_one()
    store.close()
    totals: Counter[str] = Counter()
    for name, total in logs:
        totals[name] += total
    return totals, max((total for name, total in logs if name == "device"), default=0), ids, used


def same(url: str) -> None:
    """Every scope, every session and the list of attempts say the same: what was taken from one was taken from all."""
    totals, _, ids, used = kept(url)
    assert set(totals.values()) <= {len(ids)} and used == len(ids), (totals, len(ids), used)


def test_eight_processes_get_exactly_the_limit_of_a_device(url: str, tmp_path: Path) -> None:
    plan = plan_for(url, tmp_path, devices=1, attempts=60)
    with hammered(plan, tmp_path, PROCESSES) as running:
        told = Counter(line if line.isalpha() else "admitted" for line in running.wait())
    assert told["admitted"] == 10 and told["limited"] + told["down"] == 470, told
    same(url)


def test_eight_processes_over_many_devices_get_exactly_what_is_shared(url: str, tmp_path: Path) -> None:
    """40 devices of 10 each; the network they share ends it at 200, over three accounts of 90."""
    ceilings = {"network": {"count": 200, "window": "1h"}, "account": {"count": 90, "window": "24h"}}
    plan = plan_for(url, tmp_path, devices=40, attempts=150, limits=ceilings)
    with hammered(plan, tmp_path, PROCESSES) as running:
        told = [line for line in running.wait() if line.isdigit()]
    totals, device, ids, _ = kept(url)
    assert len(told) == 200 and {int(line) for line in told} == ids
    assert totals["network"] == 200 and device <= 10
    same(url)


def test_a_large_ceiling_in_buckets_is_never_passed(url: str, tmp_path: Path) -> None:
    wide = {"count": 10**6, "window": "24h"}
    config = {"device": wide, "account": wide, "network": wide, "party": {"count": 1200, "window": "24h"}}
    plan = plan_for(url, tmp_path, devices=8, attempts=260, limits=config)
    with hammered(plan, tmp_path, PROCESSES) as running:
        told = [line for line in running.wait() if line.isdigit()]
    assert len(told) == 1200
    same(url)


def test_workers_killed_in_the_middle_leave_no_place_free(url: str, tmp_path: Path) -> None:
    plan = plan_for(
        url,
        tmp_path,
        devices=1,
        attempts=100_000,
        limits={name: {"count": 600, "window": "24h"} for name in ("device", "account", "network")},
    )
    chance = random.Random(3)
    with hammered(plan, tmp_path, PROCESSES) as running:
        until(lambda: len(running.lines()) > 40, "the race", 60)
        for process in running.processes:
            time.sleep(chance.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
        told = running.wait()
    admitted = {int(line) for line in told if line.isdigit()}
    _, _, ids, _ = kept(url)
    assert 0 < len(admitted) < 600 and admitted <= ids and len(ids) <= len(admitted) + PROCESSES
    same(url)
    again = plan_for(url, tmp_path, devices=1, attempts=150, limits=plan.config["limits"])
    with hammered(again, tmp_path, PROCESSES) as running:
        more = [line for line in running.wait() if line.isdigit()]
    assert len(more) == 600 - len(ids)
    same(url)


def processes_of(postmaster: int) -> list[int]:
    """A server's processes that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z" and postmaster in {int(parent), int(stat.parent.name)}:
            found.append(int(stat.parent.name))
    return found


def kill_server(data: Path) -> None:
    """SIGKILL for all of a server's processes; where nobody inherits the dead, the files that name them are in the way."""
    lock = data / "postmaster.pid"
    alive = processes_of(int(lock.read_text().split()[0]))
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text() for pid in alive), "its end")
    for left in (lock, *data.glob(".s.PGSQL.*")):
        left.unlink()


def test_a_postgresql_that_is_killed_gives_nothing_back(postgres_url: str, postgres_server: tuple[Path, int, Path], tmp_path: Path) -> None:
    binaries, port, data = postgres_server
    config = {name: {"count": 900, "window": "24h"} for name in ("device", "account", "network")}
    plan = plan_for(postgres_url, tmp_path, devices=1, attempts=220, limits=config)
    with hammered(plan, tmp_path, PROCESSES) as running:
        for many in (60, 200):
            until(lambda n=many: sum(map(str.isdigit, running.lines())) > n, "the race", 60)
            kill_server(data)
            start(binaries, data, port)
        told = running.wait()
    admitted = {int(line) for line in told if line.isdigit()}
    _, _, ids, _ = kept(postgres_url)
    assert "down" in told and admitted <= ids <= set(range(1, 10_000)) and len(ids) <= 900
    assert len(ids) - len(admitted) <= 2 * PROCESSES  # committed, but killed before it could say so: spent
    same(postgres_url)
    again = plan_for(postgres_url, tmp_path, devices=1, attempts=200, limits=config)
    with hammered(again, tmp_path, PROCESSES) as running:
        more = [line for line in running.wait() if line.isdigit()]
    assert len(more) == 900 - len(ids)
    same(postgres_url)
