"""Sessions and limits against a model that knows only their definitions: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule, run_state_machine_as_test
from limits_model import CEILINGS, CONFIG, Model, Ticket, Told
from phones import Phone, World, world
from sqlalchemy import delete, select

from vauban.errors import GuardDown
from vauban.guard.limits import locked, release
from vauban.guard.limits.tables import attempts, limits, locks
from vauban.guard.refusal import Code, Refused
from vauban.guard.sessions import Admitted
from vauban.guard.sessions.admission import LATE
from vauban.guard.sessions.tables import sessions

PHONES = [Phone() for _ in range(2)]
WAITS = {"moment": 0.5, "while": 9.5, "lock": 20.0, "lost": 60.0}
PLANS = [*["reject"] * 4, *["accept"] * 2, *["leave"] * 2, "replay", "close", "fetch", *WAITS]


class Machine(RuleBasedStateMachine):
    """Backends, devices, an operator and time; the model beside the database."""

    tickets: Bundle[Ticket] = Bundle("tickets")
    running: Bundle[tuple[Admitted, Told]] = Bundle("running")
    url = ""

    @initialize(target=tickets)
    def begin(self) -> object:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.here: World = world(self.url or f"sqlite:///{self.folder / 'guard.db'}", self.folder, **CONFIG)
        with self.here.store.write() as tx:
            for table in (sessions, attempts, limits, locks):
                tx.run(delete(table))
        self.kept: dict[tuple[str, str], Ticket] = {}
        self.model = Model(self.here.clock)
        return multiple(*(Ticket(self.here.open(PHONES[i % 2], "xy"[i // 2], "bank"), i % 2, "xy"[i // 2], "bank") for i in range(4)))

    def teardown(self) -> None:
        if hasattr(self, "here"):
            self.here.store.close()
            shutil.rmtree(self.folder)

    # what may be done

    @rule(seconds=st.sampled_from([0.5, 1.0, 7.5, 20.0, 30.0, 40.0, 45.5, 60.0, 110.0]))
    def time_passes(self, seconds: float) -> None:
        self.here.wait(seconds)

    @rule(
        target=tickets,
        phone=st.integers(0, 1),
        account=st.sampled_from("xy"),
        party=st.sampled_from(["bank", "shop"]),
        key=st.sampled_from([None, "k1", "k2"]),
    )
    def open_session(self, phone: int, account: str, party: str, key: str | None) -> object:
        held = self.kept.get((party, key)) if key else None
        if held is not None and (held.phone, held.account) != (phone, account):
            with pytest.raises(Refused) as error:
                self.here.open(PHONES[phone], account, party, key)
            assert error.value.code is Code.BAD_REQUEST
            return multiple()
        opened = self.here.open(PHONES[phone], account, party, key)
        if held is not None:
            assert opened == held.opened
            return multiple()
        ticket = Ticket(opened, phone, account, party)
        if key:
            self.kept[party, key] = ticket
        return ticket

    @rule(target=running, ticket=tickets, network=st.sampled_from("nm"), plan=st.lists(st.sampled_from(PLANS), min_size=1, max_size=8))
    def try_some(self, ticket: Ticket, network: str, plan: list[str]) -> object:
        """Attempts of one session one after the other, some decided at once and some left under way, with whatever comes between."""
        left: list[tuple[Admitted, Told]] = []
        for what in plan:
            if what in WAITS:
                self.here.wait(WAITS[what])
            elif what in {"close", "fetch"}:
                self.end(ticket, what)
            else:
                for attempt in self.tried(ticket, network, what == "replay"):
                    if what in {"accept", "reject"}:
                        self.decided(*attempt, accept=what == "accept")
                    else:
                        left.append(attempt)
        return multiple(*left)

    def tried(self, ticket: Ticket, network: str, replay: bool) -> list[tuple[Admitted, Told]]:
        replay = replay and bool(ticket.claims)
        claim = ticket.claims[-1] if replay else PHONES[ticket.phone].claim(ticket.opened.session_id, self.here.now)
        scopes = {
            "device": f"{ticket.phone}",
            "account": ticket.party + ticket.account,
            "network": network,
            "party": ticket.party,
            "everyone": "",
        }
        expected = self.model.expected(ticket, claim, scopes)
        try:
            admitted = self.here.admission.admit(ticket.opened.token, claim, network)
        except Refused as error:
            assert error.code is (expected or Code.REPLAY), error.why
            assert expected or replay
            if not expected:
                self.model.spend(ticket, scopes)
            return []
        assert not expected and not replay
        self.model.spend(ticket, scopes)
        ticket.claims.append(claim)
        told = Told(ticket, self.here.now)
        ticket.tries.append(told)
        self.model.all.append(told)
        assert admitted.seq == ticket.used
        return [(admitted, told)]

    @rule(attempt=consumes(running), accept=st.booleans())
    def decide(self, attempt: tuple[Admitted, Told], accept: bool) -> None:
        self.decided(*attempt, accept=accept)

    def decided(self, admitted: Admitted, told: Told, accept: bool) -> None:
        if self.here.now > told.at + LATE:
            with pytest.raises(GuardDown):
                self.here.settle(admitted, accept)
            return
        told.accept, told.decided = accept, self.here.now
        assert self.here.settle(admitted, accept) is (not accept and self.model.locks_now(told.session.phone))

    @rule(attempt=consumes(running))
    def come_to_nothing(self, attempt: tuple[Admitted, Told]) -> None:
        admitted, told = attempt
        if self.here.now <= told.at + LATE:
            self.here.admission.fail(admitted, "invalid_image")
            told.failed, told.decided = True, self.here.now

    @rule(ticket=tickets, how=st.sampled_from(["close", "fetch"]))
    def end(self, ticket: Ticket, how: str) -> None:
        mine = ticket.party, ticket.opened.session_id
        if how == "close":
            self.here.sessions.close(*mine)
            ticket.closed = True
            return
        found = self.here.sessions.result(*mine)
        expected = ticket.final or self.model.outcome(ticket)
        assert (found.status, found.decision, found.used) == expected
        if expected[0] != "open":
            ticket.final, ticket.closed = expected, True
        with pytest.raises(Refused):
            self.here.sessions.result("else", ticket.opened.session_id)

    @rule(phone=st.integers(0, 1))
    def release(self, phone: int) -> None:
        device = self.here.keys.hashed("device", f"key\0{PHONES[phone].public}")
        with self.here.store.write() as tx:
            assert release(tx, device, "olivia") == len(self.model.locks.get(phone, []))
        if self.model.locks.pop(phone, []):
            self.model.cleared[phone] = self.here.now

    # what must hold

    @invariant()
    def nobody_has_more_than_its_limit_in_any_window(self) -> None:
        for key, times in (self.model.places if hasattr(self, "model") else {}).items():
            count, window = CEILINGS[key.partition(":")[0]]
            assert all(sum(1 for t in times if start <= t < start + window) <= count for start in times)

    @invariant()
    def the_operator_sees_the_locks(self) -> None:
        if hasattr(self, "here"):
            with self.here.store.read() as tx:
                held = sorted((lock.since, lock.until or 0) for lock in locked(tx))
                assert len(tx.run(select(attempts.c.id)).all()) == len(self.model.all)
            now = self.here.now
            assert held == sorted((s, u or 0) for locks in self.model.locks.values() for s, u in locks if u is None or u > now)


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def test_sessions_and_limits_are_what_their_definitions_say() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=30, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS)
    )


@pytest.mark.slow
def test_sessions_and_limits_are_what_their_definitions_say_for_long() -> None:
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=400, stateful_step_count=80, deadline=None, suppress_health_check=CHECKS)
    )


@pytest.mark.slow
def test_sessions_and_limits_are_what_their_definitions_say_on_postgresql(postgres_url: str) -> None:
    class OnPostgres(Machine):
        url = postgres_url

    run_state_machine_as_test(
        OnPostgres, settings=settings(max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS)
    )
