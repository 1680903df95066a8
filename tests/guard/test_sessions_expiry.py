"""What is deleted, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import Phone, code_of, world
from sqlalchemy import select

from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code
from vauban.guard.sessions import forget


def test_sessions_long_over_and_logs_that_ran_out_are_forgotten_and_nothing_else(url: str, tmp_path: Path) -> None:
    here = world(url, tmp_path)
    phone = Phone()
    old = here.open(phone)
    here.settle(here.tries(phone, old), accept=True)
    here.wait(3601)
    assert forget(here.store) == 1  # the log of the network: an hour
    here.wait(47 * 3600)
    fresh = here.open(phone)
    here.tries(phone, fresh)
    here.wait(601)
    assert forget(here.store) == 1  # the session; the other logs have been asked in again
    assert code_of(here.sessions.result, "bank", old.session_id) is Code.NOT_FOUND
    assert here.sessions.result("bank", fresh.session_id).used == 1
    with here.store.read() as tx:
        assert len(tx.run(select(attempts.c.id)).all()) == 2


def test_forgetting_goes_in_batches(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world(sqlite_url, tmp_path)
    monkeypatch.setattr("vauban.guard.sessions.expiry.BATCH", 3)
    for _ in range(8):
        here.open(Phone())
    here.wait(3 * 86400)
    assert (forget(here.store, most=2), forget(here.store), forget(here.store)) == (6, 2, 0)
