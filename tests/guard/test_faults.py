"""What fails fails closed: no decision without a record of it, and no budget that grows back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from servers import start, until
from sqlalchemy import event, func, select, text
from whole_guards import FAST, Home, home, image, opened, served

from vauban.errors import GuardDown
from vauban.guard.client import Client, Device, Session
from vauban.guard.ledger.chain import records
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code
from vauban.guard.rotation.fleet import Fleet
from vauban.guard.server.problems import BODIES
from vauban.guard.sessions.tables import sessions
from vauban.guard.storage import Store
from vauban.guard.storage.store import PATIENCE

DOWN = (503, BODIES[Code.UNAVAILABLE])


def ready(client: Client) -> tuple[Session, Device]:
    device = Device()
    return client.open(device), device


def tried(client: Client, session: Session, device: Device, brightness: float = 0.8) -> tuple[int, bytes]:
    answer = client.attempt(session, device, image(brightness))
    return answer.status_code, answer.content


def started(binaries: Path, data: Path, port: int) -> bool:
    try:
        start(binaries, data, port)
    except subprocess.CalledProcessError:
        return False
    return True


def check(store: Store) -> tuple[int, int]:
    """Attempts and decisions, after seeing that every decision has its record and every record its decision."""
    with store.read() as tx:
        decided = set(tx.run(select(attempts.c.id).where(attempts.c.state == "decided")).scalars())
        written = {json.loads(body)["attempt"] for body in tx.run(select(records.c.body).where(records.c.kind == "decision")).scalars()}
        count = int(tx.run(select(func.count()).select_from(attempts)).scalar_one())
        used = int(tx.run(select(func.coalesce(func.sum(sessions.c.used), 0))).scalar_one())
    assert decided == written
    assert count == used
    return count, len(decided)


def test_a_database_that_is_slow_decides_nothing_and_spends_nothing(tmp_path: Path) -> None:
    with served(home(tmp_path)) as (guard, client):
        session, device = ready(client)
        other = Store(guard.store.url)
        with other.write():
            assert tried(client, session, device) == DOWN
        other.close()
        assert check(guard.store) == (0, 0)
        assert tried(client, session, device)[0] == 202
        assert check(guard.store) == (1, 1)


def test_a_full_disk_decides_nothing(tmp_path: Path) -> None:
    at = home(tmp_path)
    with served(at) as (guard, client):
        session, device = ready(client)

        def full(connection, _):  # type: ignore[no-untyped-def]
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")

        event.listen(guard.store.engine, "connect", full)
        guard.store.engine.dispose()
        answers = [tried(client, session, device)]
        while answers[-1] != DOWN and len(answers) < 200:
            with suppress(GuardDown):  # a session cannot be opened either
                session, device = ready(client)
            answers.append(tried(client, session, device))
        assert answers[-1] == DOWN
        assert set(answers) <= {DOWN, (202, b'{"status":"received"}'), (429, BODIES[Code.LIMITED])}
        event.remove(guard.store.engine, "connect", full)
        guard.store.engine.dispose()
        check(guard.store)


def test_a_read_only_database_decides_nothing(tmp_path: Path, postgres_url: str) -> None:
    with served(home(tmp_path, database=postgres_url)) as (guard, client):
        session, device = ready(client)
        name = postgres_url.rpartition("/")[2]
        with guard.store.engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
            connection.commit()
        guard.store.engine.dispose()
        assert tried(client, session, device) == DOWN
        assert check(guard.store) == (0, 0)


def test_postgres_killed_and_started_again_has_lost_no_attempt(
    tmp_path: Path, postgres_url: str, postgres_server: tuple[Path, int, Path]
) -> None:
    binaries, port, data = postgres_server
    with served(home(tmp_path, database=postgres_url)) as (guard, client):
        session, device = ready(client)
        assert tried(client, session, device)[0] == 202
        postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
        subprocess.run(["kill", "-9", str(postmaster)], check=True)
        assert tried(client, session, device) == DOWN
        until(lambda: started(binaries, data, port), "PostgreSQL")  # not before the last child of the killed one is gone
        statuses = [tried(client, session, device)[0] for _ in range(session.attempts)]
        assert statuses == [202] * (session.attempts - 1) + [429], "what was spent before is spent"
        assert check(guard.store) == (session.attempts, session.attempts)


def test_without_redis_the_limits_of_the_database_hold(tmp_path: Path) -> None:
    text_ = (
        FAST.replace("count = 10000", 'redis = "redis://127.0.0.1:1/0"\ncount = 1000') + "[session]\nattempts = 5\n[lockout]\nfails = 100\n"
    )
    with served(home(tmp_path, text_)) as (_, client):
        device = Device()
        statuses = [tried(client, client.open(device), device)[0] for _ in range(12)]
        assert statuses == [202] * 10 + [429] * 2


def test_a_model_that_dies_never_helps_and_the_attempt_stays_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(home(tmp_path)) as (guard, client):
        session, device = ready(client)

        def dead(*_: object) -> None:
            raise RuntimeError("gone")

        quorum = next(iter(guard.fleet._held.values()))
        with monkeypatch.context() as patched:
            for member in quorum._members:
                patched.setattr(member.model, "scores", dead)
            assert tried(client, session, device) == DOWN
        assert check(guard.store) == (1, 0)
        with monkeypatch.context() as patched:
            patched.setattr(quorum._members[0].model, "scores", dead)
            status, _ = tried(client, session, device)
        assert status in {202, 503}
        assert client.result(session)["decision"] != "accept"


def test_a_clock_that_jumps_stops_all_decisions(tmp_path: Path) -> None:
    at, told, steady = home(tmp_path), [1_790_000_000.0], [0.0]
    store = Store(f"sqlite:///{tmp_path / 'guard.db'}", clock=lambda _: told[0], steady=lambda: steady[0])
    with opened(at, store) as guard:
        asked_at = told[0]
        told[0] += 3600
        with pytest.raises(GuardDown, match="clock jumped by"), guard.store.write() as tx:
            tx.now()
        told[0] = asked_at


POINTS = {
    "admitted": "Decoder.decode",
    "decoded": "Fleet.ask",
    "asked": "Watch.look",
    "recalled": "Admission.settle",
    "settled": "Watch.record",
    "recorded": "Ledger.append",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_anywhere_leaves_no_decision_without_a_record_and_gives_nothing_back(tmp_path: Path, point: str) -> None:
    at = home(tmp_path)
    code = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[1] / "support")!r})
        from pathlib import Path
        from whole_guards import Home, image, opened
        from vauban.guard.client import Device, Session
        from vauban.guard.images import Decoder
        from vauban.guard.ledger import Ledger
        from vauban.guard.rotation.fleet import Fleet
        from vauban.guard.server.shapes import SessionRequest
        from vauban.guard.service import Asked
        from vauban.guard.sessions import Admission
        from vauban.guard.watch.watch import Watch
        from hashlib import sha256

        def die(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        at = Home(Path({str(tmp_path)!r}), {at.key!r}, "", None)
        with opened(at) as guard:
            device, body = Device(), image(0.8)
            told = guard.open(at.key, SessionRequest(device_key=device.public), None)
            headers = device.headers(Session(told.session_id, told.client_token, 3), body)
            asked = Asked(told.client_token, headers["X-Vauban-Nonce"], int(headers["X-Vauban-Timestamp"]), headers["X-Vauban-Signature"], "192.0.2.0/24")
            {POINTS[point]} = die
            guard.attempt(asked.of(body, sha256(body).hexdigest()))
        """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with opened(at) as guard:
        assert check(guard.store) == (1, 0)


def test_an_ensemble_in_shadow_that_answers_late_holds_up_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's patience is shorter than a model's time: whoever waited for the shadow in the writer's turn would starve the others."""
    at = home(tmp_path)

    def late(*_: object) -> None:
        time.sleep(3 * PATIENCE)

    monkeypatch.setattr(Fleet, "shadow", late)
    with served(at) as (guard, client):
        askers = [ready(client) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda asker: tried(client, *asker)[0], askers))
        assert answers == [202] * 4
        assert check(guard.store) == (4, 4)


def test_a_killed_server_leaves_every_answered_attempt_in_the_ledger(tmp_path: Path) -> None:
    at: Home = home(tmp_path)
    process = subprocess.Popen([sys.executable, "-m", "vauban.cli", "--json", "serve", str(at.file)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        assert process.poll() is None
        said += process.stdout.readline()
    client = Client(json.loads(said)["devices"], at.key)
    answered = 0
    for _ in range(3):
        session, device = ready(client)
        answered += tried(client, session, device)[0] == 202
    process.kill()
    process.wait()
    with opened(at) as guard:
        count, decided = check(guard.store)
        assert (count, decided) == (answered, answered) == (3, 3)
