"""Sessions and limits by their definitions, slowly and obviously: lists of times, looked through each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from vauban.guard.refusal import Code
from vauban.guard.sessions import Claim, Opened
from vauban.guard.sessions.sessions import LOST

CEILINGS = {"device": (5, 60.0), "account": (6, 90.0), "network": (6, 50.0), "party": (9, 100.0), "everyone": (11, 200.0)}
CONFIG = {
    "session": {"attempts": 3, "ttl": 240},
    "limits": {name: {"count": count, "window": window} for name, (count, window) in CEILINGS.items()},
    "lockout": {"fails": 2, "within": 30, "lock": 20, "locks": 2, "locks_within": 2000},
}


@dataclass
class Told:
    """What the model knows of an attempt."""

    session: Ticket
    at: float
    accept: bool | None = None
    decided: float | None = None
    failed: bool = False


@dataclass
class Ticket:
    """What the model knows of a session."""

    opened: Opened
    phone: int
    account: str
    party: str
    used: int = 0
    closed: bool = False
    final: tuple[object, ...] | None = None
    tries: list[Told] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


@dataclass
class Model:
    """What everybody has done, and what follows from it.

    Attributes:
        clock: the time, in its first place.
        places: times at which places were taken, by scope.
        locks: of each device, since when and until when.
        cleared: up to when a device's rejections have been paid for.
    """

    clock: list[float]
    places: dict[str, list[float]] = field(default_factory=dict)
    all: list[Told] = field(default_factory=list)
    locks: dict[int, list[tuple[float, float | None]]] = field(default_factory=dict)
    cleared: dict[int, float] = field(default_factory=dict)

    @property
    def now(self) -> float:
        return self.clock[0]

    def spend(self, ticket: Ticket, scopes: dict[str, str]) -> None:
        """An attempt takes a place everywhere."""
        ticket.used += 1
        for name, id_ in scopes.items():
            self.places.setdefault(f"{name}:{id_}", []).append(self.now)

    def expected(self, ticket: Ticket, claim: Claim, scopes: dict[str, str]) -> Code | None:
        """What an attempt is refused with; None if it is not, or only as a replay."""
        now = self.now
        if ticket.closed or now >= ticket.opened.expires or abs(claim.timestamp - now) > 30:
            return Code.UNAUTHORISED
        if ticket.used >= 3 or self.blocked(ticket.phone) or self.fails(ticket.phone, undecided=True) >= 2:
            return Code.LIMITED
        for name, id_ in scopes.items():
            count, window = CEILINGS[name]
            if sum(1 for t in self.places.get(f"{name}:{id_}", []) if t > now - window) >= count:
                return Code.LIMITED
        return None

    def blocked(self, phone: int) -> bool:
        """Whether a device is locked."""
        return any(until is None or until > self.now for _, until in self.locks.get(phone, []))

    def fails(self, phone: int, undecided: bool) -> int:
        """Rejected attempts that count against a device."""
        after = max(self.now - 30, self.cleared.get(phone, 0.0))
        mine = [t for t in self.all if t.session.phone == phone and t.at > after]
        return sum(1 for t in mine if t.accept is False or (undecided and t.accept is None))

    def locks_now(self, phone: int) -> bool:
        """Whether the rejection that was just written locks the device; if so it does."""
        now, held = self.now, self.locks.setdefault(phone, [])
        if self.blocked(phone) or self.fails(phone, undecided=False) < 2:
            return False
        recent = sum(1 for since, until in held if until is not None and since > now - 2000)
        held.append((now, None if recent + 1 >= 2 else now + 20))
        self.cleared[phone] = now
        return True

    def outcome(self, ticket: Ticket) -> tuple[object, ...]:
        """Status, decision and used attempts of a session."""
        now = self.now
        if any(t.accept for t in ticket.tries):
            return "decided", "accept", ticket.used
        waiting = any(t.decided is None and t.at > now - LOST for t in ticket.tries)
        if waiting or not (ticket.closed or now >= ticket.opened.expires or ticket.used >= 3):
            return "open", None, ticket.used
        if ticket.used == 0:
            return ("closed" if ticket.closed else "expired"), None, 0
        return "decided", "reject", ticket.used
