"""A classifier behind Vauban's guard, as somebody sees it who has a few devices and may wait: accepted, rejected, or no answer today."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import torch
from torch import Tensor

from vauban.errors import BadData, BadEndpoint, BadPlan, GuardDown, Missing, NotGranted
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.http.secrets import NAME, Secrets
from vauban.target.http.settings import Authorisation, Request
from vauban.target.http.wire import wire_of
from vauban.threat import Access

if TYPE_CHECKING:
    import httpx

    from vauban.guard.client import Client, Device, Session

LIMITED, UNAVAILABLE = 429, 503
TRIES = 20
"""How often in a row, a second apart, a guard is asked that says that it is unavailable."""
NOTHING = -1
DAY = 86400.0
WIRE = wire_of(Request(encode="png"))


@dataclass
class Held:
    """A device of the attacker's, until when it must rest, and how often in a row it was refused."""

    device: Device
    until: float = 0.0
    refusals: int = 0


@dataclass
class Effort:
    """What was spent.

    Attributes:
        attempts: that the guard let in.
        refused: that it did not.
        starved: questions that were not asked, because no device was free and the attacker would not wait.
        began, ended: by the attacker's clock.
    """

    attempts: int = 0
    refused: int = 0
    starved: int = 0
    began: float = math.nan
    ended: float = math.nan

    @property
    def days(self) -> float:
        """How long it took."""
        return 0.0 if math.isnan(self.began) else (self.ended - self.began) / DAY


class Guarded(Target):
    """A guard over HTTP, with two classes, accepted and rejected; a question that gets neither has the label -1.

    The attacker has a few devices, each with a key of its own, and a session for every few attempts; it paces itself, so that locks against hurry do
    not hit it, and sees of each attempt what a user would: whether it was accepted. Pictures are sent as PNG of 8 bits.

    Args:
        client: of the listener for devices, with an API key; the backend is not the attacker's, but opens sessions for whoever asks.
        authorisation: who allows it to be attacked, and the hosts that may be sent to.
        devices: how many the attacker has.
        pace: seconds that it lets pass between two attempts of one device.
        wait: lets so many seconds pass until a device is free again, and says whether the attacker goes on; by default it does not wait.
        clock: the time by which devices rest, seconds since 1970.
        direct: whether the guard tells devices the decision; otherwise it is read as users see it, from what the backend does next.
        accepted: the class, 0 or 1, that an accepted input is of.
        name: what the record calls it.

    Raises:
        NotAuthorised: its host is not allowed.

    Attributes:
        effort: what was spent so far.
    """

    kind: ClassVar[str] = "guard"
    access = Access.LABEL
    outputs = "labels"
    refuses = True
    metered = True
    classes = 2

    def __init__(
        self,
        client: Client,
        authorisation: Authorisation,
        *,
        devices: int = 1,
        pace: float = 40.0,
        wait: Callable[[float], bool] | None = None,
        clock: Callable[[], float] = time.time,
        direct: bool = False,
        accepted: int = 0,
        name: str = "",
    ) -> None:
        from vauban.guard.client import Device

        parts = urlsplit(client.url)
        authorisation.check(parts.hostname or "", parts.port, "the guard's host is")
        self.client, self.pace, self.wait, self.clock, self.direct = client, pace, wait, clock, direct
        self.accepted = accepted
        self.hands = [Held(Device(clock=clock)) for _ in range(devices)]
        self.name, self.effort = name or parts.netloc, Effort()

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """None.

        Raises:
            NotGranted: always.
        """
        raise NotGranted(f"{self.name}: a guard shows no scores, only whether it accepted")

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """The class that each was decided to be of, -1 where there is no answer; int64 (n,)."""
        rows = self.wire(x).cpu().numpy()
        return torch.tensor([self._asked(WIRE.packed(row).data) for row in rows], dtype=torch.int64)

    def wire(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        """Pictures as a PNG of 8 bits carries them, rounded toward the clean ones so that no change grows.

        Raises:
            BadData: they are none.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise BadData(f"a guard takes pictures of shape (1 or 3, height, width); these are {tuple(x.shape[1:])}")
        return WIRE.rounded(x, clean)

    def sha256(self) -> str:
        """Of the address: nobody sees the models behind it."""
        return hashlib.sha256(self.client.url.encode()).hexdigest()

    def _asked(self, picture: bytes) -> int:
        while (held := self._free()) is not None:
            answer = self._attempt(held, picture)
            if answer is not None:
                return answer
        self.effort.starved += 1
        return NOTHING

    def _free(self) -> Held | None:
        """A device that may try now; waited for, where the attacker waits."""
        held = min(self.hands, key=lambda h: h.until)
        rest = held.until - self.clock()
        if rest > 0 and (self.wait is None or not self.wait(rest)):
            return None
        return held

    def _attempt(self, held: Held, picture: bytes) -> int | None:
        """What one attempt got; None where the guard let none in, and the device must rest."""
        now = self.clock()
        if math.isnan(self.effort.began):
            self.effort.began = now
        session, answer = self._answered(held, picture)
        self.effort.ended = self.clock()
        if answer.status_code == LIMITED:
            self.effort.refused += 1
            # a device that is refused again and again is locked or blocked: it asks ever more rarely, at least once a day
            rest = float(answer.headers.get("Retry-After", 60))
            held.until = self.clock() + max(rest, min(DAY, rest * 2.0 ** min(held.refusals, 20)))
            held.refusals += 1
            return None
        if answer.is_error:
            raise BadEndpoint(f"{self.name}: answered {answer.status_code}: {answer.text[:200]}")
        self.effort.attempts += 1
        held.until, held.refusals = self.clock() + self.pace, 0
        said = answer.json().get("decision") if self.direct else self.client.result(session)["decision"]
        return self.accepted if said == "accept" else 1 - self.accepted

    def _answered(self, held: Held, picture: bytes) -> tuple[Session, httpx.Response]:
        """A session, and what was said to an attempt in it."""
        for _ in range(TRIES):
            with suppress(GuardDown):
                session = self.client.open(held.device)
                answer = self.client.attempt(session, held.device, picture)
                if answer.status_code != UNAVAILABLE:
                    return session, answer
            time.sleep(1)
        raise BadEndpoint(f"{self.name}: unavailable {TRIES} times in a row")


def over_http(
    url: str, key: str, authorisation: Authorisation, *, devices: int, pace: float, days: float, direct: bool, accepted: int, name: str
) -> Guarded:
    """The guard at an address, as a campaign file names it.

    Args:
        key: a relying party's, as "${NAME}" of an environment variable.
        days: how long the attacker waits for devices, by the clock on the wall.

    Raises:
        BadPlan: the key is written down, or its variable is not set.
        Missing: httpx or cryptography is not installed.
    """
    if NAME.fullmatch(key) is None:
        raise BadPlan('key must be "${NAME}" of an environment variable; a secret is not written into a file')
    try:
        from vauban.guard.client import Client
    except ImportError as error:
        raise Missing('a guard is asked with httpx and cryptography; pip install "vauban[guard]"') from error
    end = time.time() + days * DAY

    def wait(seconds: float) -> bool:
        if time.time() + seconds > end:
            return False
        time.sleep(seconds)
        return True

    client = Client(url, Secrets(key).filled(key))
    return Guarded(client, authorisation, devices=devices, pace=pace, wait=wait, direct=direct, accepted=accepted, name=name)
