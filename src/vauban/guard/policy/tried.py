"""What a device was let in for, session after session, and which limits that shows: a 429 does not say whose it is, the numbers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vauban.guard.policy.rule import Held, Ruling
from vauban.guard.refusal import Code

LET_IN = {200, 202, Code.REPLAY.status, Code.INVALID_IMAGE.status}
"""Answers that cost an attempt."""
OTHER = "another limit answered first, such as the lock-out after rejections; give --image with a picture that this guard accepts"
SESSION, DEVICE = "a running guard keeps the limit of a session", "a running guard keeps the limit of a device"


@dataclass(frozen=True)
class Tried:
    """The attempts of one device.

    Attributes:
        sessions: for each session how many attempts it let in, and the status that came last.
    """

    sessions: Sequence[tuple[int, int]]

    @property
    def total(self) -> int:
        """All that were let in."""
        return sum(count for count, _ in self.sessions)

    @property
    def spent(self) -> bool:
        """Whether a new session let in nothing, with 429."""
        return bool(self.sessions) and self.sessions[-1] == (0, Code.LIMITED.status)

    def session(self, attempts: int) -> Ruling:
        """Whether sessions let in as many as they may: exactly, and another one let the same device in afterwards."""
        most = max((count for count, _ in self.sessions), default=0)
        if most > attempts:
            return Ruling(3, SESSION, Held.BREACHED, f"{most} attempts of one session were let in; {attempts} are configured")
        after = [later for (count, status), (later, _) in zip(self.sessions, self.sessions[1:], strict=False)
                 if (count, status) == (attempts, Code.LIMITED.status)]  # fmt: skip
        if any(after):
            return Ruling(3, SESSION, Held.HOLDS, f"{most} attempts of a session were let in, then 429; the next session let the device in")
        if most == attempts:
            return Ruling.unable(3, SESSION, f"{most} attempts of a session were let in, and none in the next one: {OTHER}")
        return Ruling.unable(3, SESSION, f"{most} of {attempts} attempts of a session were let in, then {self._last}: {OTHER}")

    def device(self, allowed: int) -> Ruling:
        """Whether the device was let in as often as it may be: exactly."""
        if self.total > allowed:
            return Ruling(3, DEVICE, Held.BREACHED, f"{self.total} attempts of one device were let in; {allowed} are configured")
        if self.total == allowed and self.spent:
            said = f"{self.total} attempts of one device were let in over {len(self.sessions) - 1} sessions, then 429 in a new one"
            return Ruling(3, DEVICE, Held.HOLDS, said)
        return Ruling.unable(3, DEVICE, f"{self.total} of {allowed} attempts of one device were let in, then {self._last}: {OTHER}")

    @property
    def _last(self) -> str:
        return str(self.sessions[-1][1]) if self.sessions else "nothing"
