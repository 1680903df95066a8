"""The few acts that people decide here; each is written into the ledger in the transaction in which it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from vauban.errors import BadGuard, BadLedger
from vauban.guard.alerts import acknowledge
from vauban.guard.console.access import Visitor
from vauban.guard.console.desk import Approver, Console, Forbidden, Here, Operator, Viewer
from vauban.guard.console.readings.board import PAGE, chains_of, rows_of
from vauban.guard.ledger import Checked, verify
from vauban.guard.limits.lockout import block, release
from vauban.guard.rotation.moves import Rotation
from vauban.guard.storage import Transaction

MOST_ROWS = 2_000_000
"""A longer ledger is verified by `vauban guard verify-ledger`, which nobody waits for before a page."""
Device = Annotated[str, Form(pattern=r"^[0-9a-f]{32}$")]
Note = Annotated[str, Form(max_length=500)]
acts = APIRouter()


@dataclass(frozen=True)
class Outcome:
    """What reading the ledger came to.

    Attributes:
        checked: what was read; None where it was not.
        said: why not, or what the reading leaves open.
        seconds: it took.
    """

    checked: Checked | None
    said: str
    seconds: float


@acts.post("/alerts/{number}/acknowledge")
def acknowledged(here: Here, who: Operator, number: int, note: Note = "") -> Response:
    """Put an alert away."""
    with here.desk.store.write() as tx:
        if acknowledge(tx, number, who.name, note):
            _noted(here, tx, who, "acknowledge", alert=number, note=note)
    return _done(here, "/alerts")


@acts.post("/quotas/release")
def released(here: Here, who: Operator, device: Device) -> Response:
    """End all locks of a device."""
    with here.desk.store.write() as tx:
        count = release(tx, device, who.name)
        _noted(here, tx, who, "release", device=device, locks=count)
    return _done(here, f"/quotas/device?key={device}")


@acts.post("/quotas/block")
def blocked(here: Here, who: Operator, device: Device, note: Note = "") -> Response:
    """Block a device until it is released."""
    with here.desk.store.write() as tx:
        block(tx, device, note or "by an operator", who.name)
        _noted(here, tx, who, "block", device=device, note=note)
    return _done(here, f"/quotas/device?key={device}")


@acts.post("/models/roll-back")
def rolled_back(here: Here, who: Approver, note: Note, sure: Annotated[str, Form(max_length=3)] = "") -> Response:
    """One step back."""
    if sure != "yes" or not note.strip():
        raise Forbidden("A roll-back wants a reason, and the box beside it.")

    def told(tx: Transaction, kind: str, body: Mapping[str, Any]) -> object:
        return here.desk.guard.ledger.append(tx, kind, body)

    try:
        Rotation(here.desk.store, here.desk.guard.config.models, who.name, told).roll_back(note)
    except BadGuard as error:
        raise Forbidden(str(error)) from error
    return _done(here, "/models")


@acts.post("/ledger/verify")
def verified(request: Request, here: Here, who: Viewer) -> Response:
    """Read the whole ledger."""
    outcome = read_through(here)
    if "hx-request" in request.headers:
        return here.pages.bare("verified", outcome=outcome)
    found = chains_of(here.desk.store)
    name, last = next(iter(found.chains), ("", 0))
    rows = rows_of(here.desk.store, name, last)
    return here.pages.page(request, "ledger", who, ledger=found, chain=name, rows=rows, step=PAGE, outcome=outcome)


def read_through(console: Console) -> Outcome:
    """Verify the whole ledger, if it is not too long for a page."""
    guard, rows = console.desk.guard, chains_of(console.desk.store).rows
    if rows > MOST_ROWS:
        return Outcome(None, f"{rows:,} rows are too many for a page; `vauban guard verify-ledger` reads them.", 0.0)
    anchor = guard.config.beside(guard.config.ledger.anchor)
    began = time.perf_counter()
    try:
        checked = verify(console.desk.store, guard.keys, [anchor] if anchor.exists() else [])
    except BadLedger as error:
        return Outcome(None, str(error), time.perf_counter() - began)
    said = "" if anchor.exists() else "There is no file of checkpoints: rows cut off the end together with their count would not be missed."
    return Outcome(checked, said, time.perf_counter() - began)


def _noted(here: Console, tx: Transaction, who: Visitor, act: str, **told: object) -> None:
    here.desk.guard.ledger.append(tx, "operator", {"operator": who.name, "act": act, **told})


def _done(here: Console, path: str) -> Response:
    here.desk.forget()
    return RedirectResponse(path, 303)
