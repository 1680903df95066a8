"""`vauban guard verify-ledger`: the exit code tells whether the ledger was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from typer.testing import CliRunner

from vauban.cli.main import application
from vauban.guard.keys import make_keys
from vauban.guard.ledger import Ledger
from vauban.guard.ledger.chain import heads, records
from vauban.guard.limits.tables import attempts
from vauban.guard.storage import Store


@pytest.fixture
def home(tmp_path: Path) -> tuple[Path, Store]:
    """A configuration and its database with ten rows that were signed."""
    keys = make_keys(tmp_path / "keys")
    (tmp_path / "guard.toml").write_text('name = "guard"\n', encoding="utf-8")
    store = Store(f"sqlite:///{tmp_path / 'guard.db'}")
    store.create()
    ledger = Ledger(keys, "a")
    with store.write() as tx:
        for i in range(10):
            own = dict.fromkeys(("session", "party", "device", "account", "network", "node", "ensemble"), "x")
            tx.run(
                insert(attempts).values(**own, id=i + 1, seq=i, nonce=str(i), at=1.0, state="decided", accept=i % 2 == 0, decided_at=2.0)
            )
            ledger.append(tx, "decision", {"attempt": i + 1, "accept": i % 2 == 0})
    ledger.checkpoint(store, tmp_path / "ledger-anchors.jsonl")
    return tmp_path / "guard.toml", store


def run(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(application(("guard",)), ["--json", "guard", "verify-ledger", *args])
    return done.exit_code, done.output


def test_a_ledger_that_holds_is_0(home: tuple[Path, Store]) -> None:
    code, told = run(str(home[0]))
    found = json.loads(told)
    assert code == 0 and found["holds"] and found["rows"] == 11 and found["checkpoints"] == 1 and found["faults"] == []


def test_a_ledger_that_was_changed_is_1_and_the_row_is_named(home: tuple[Path, Store]) -> None:
    with home[1].write() as tx:
        tx.run(update(records).where(records.c.seq == 7).values(body="{}"))
    code, told = run(str(home[0]))
    assert code == 1 and json.loads(told)["faults"][0] | {"why": ""} == {"chain": "a", "row": 7, "why": ""}


def test_the_configurations_checkpoints_are_read(home: tuple[Path, Store]) -> None:
    with home[1].write() as tx:
        tx.run(delete(records).where(records.c.seq > 4))
        mac = tx.run(select(records.c.mac).where(records.c.seq == 4)).scalar_one()
        tx.run(update(heads).values(seq=4, mac=mac))
    code, told = run(str(home[0]))
    assert code == 1 and json.loads(told)["faults"][0]["row"] == 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (update(attempts).where(attempts.c.id == 4).values(accept=True), "attempt 4 was changed: its record says reject"),
        (delete(attempts).where(attempts.c.id == 6), "attempt 6 is missing: the ledger has its decision"),
        (update(attempts).where(attempts.c.id == 2).values(state="failed", accept=None), "attempt 2 was changed: its record says reject"),
        (
            insert(attempts).values(
                id=99, session="y", seq=0, nonce="n", party="x", device="x", account="x", network="x", node="x", ensemble="x", at=1.0,
                state="decided", accept=True, decided_at=2.0,
            ),
            "11 attempts are decided, and the ledger has the decisions of 10",
        ),
    ],
)  # fmt: skip
def test_an_attempt_that_is_not_as_its_record_says_is_named(home: tuple[Path, Store], change: Any, why: str) -> None:
    with home[1].write() as tx:
        tx.run(change)
    code, told = run(str(home[0]))
    assert code == 1 and json.loads(told)["faults"] == [{"chain": "attempts", "row": None, "why": why}]


def test_checkpoints_that_were_signed_into_a_file_that_is_gone_are_missed(home: tuple[Path, Store]) -> None:
    (home[0].parent / "ledger-anchors.jsonl").unlink()
    code, told = run(str(home[0]))
    assert code == 1 and '"holds": false' in told and "rows tell of checkpoints" in told


def test_a_file_that_holds_no_checkpoint_and_a_database_that_is_not_there_are_2(home: tuple[Path, Store]) -> None:
    (home[0].parent / "other.txt").write_text("nothing of the kind\n")
    code, told = run(str(home[0]), "--anchor", str(home[0].parent / "other.txt"))
    assert code == 2 and "is no file of checkpoints" in told
    home[1].close()
    (home[0].parent / "guard.db").unlink()
    code, told = run(str(home[0]))
    assert code == 2 and "there is no database yet" in told and not (home[0].parent / "guard.db").exists()


def test_only_its_owner_reads_the_database_and_the_checkpoints(home: tuple[Path, Store]) -> None:
    for name in ("guard.db", "ledger-anchors.jsonl"):
        assert (home[0].parent / name).stat().st_mode & 0o077 == 0, name


def test_a_file_of_checkpoints_that_is_not_there_is_2(home: tuple[Path, Store]) -> None:
    assert run(str(home[0]), "--anchor", str(home[0].parent / "none"))[0] == 2
    assert run(str(home[0].parent / "none.toml"))[0] == 2


def test_people_are_told_the_row(home: tuple[Path, Store]) -> None:
    with home[1].write() as tx:
        tx.run(delete(records).where(records.c.seq == 3))
    done = CliRunner().invoke(application(("guard",)), ["guard", "verify-ledger", str(home[0])])
    assert done.exit_code == 1 and 'CHANGED  ledger of "a": row 3 is missing' in done.output
