"""`vauban guard verify-ledger`: the exit code tells whether the ledger was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from vauban.cli.main import application
from vauban.guard.keys import make_keys
from vauban.guard.ledger import Ledger
from vauban.guard.ledger.chain import heads, records
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
            ledger.append(tx, "decision", {"attempt": i})
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


def test_a_file_of_checkpoints_that_is_not_there_is_2(home: tuple[Path, Store]) -> None:
    assert run(str(home[0]), "--anchor", str(home[0].parent / "none"))[0] == 2
    assert run(str(home[0].parent / "none.toml"))[0] == 2


def test_people_are_told_the_row(home: tuple[Path, Store]) -> None:
    with home[1].write() as tx:
        tx.run(delete(records).where(records.c.seq == 3))
    done = CliRunner().invoke(application(("guard",)), ["guard", "verify-ledger", str(home[0])])
    assert done.exit_code == 1 and 'CHANGED  ledger of "a": row 3 is missing' in done.output
