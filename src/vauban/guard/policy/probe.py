"""Asks a running guard as a stranger would, and compares what comes back: what it shows, when it answers, and when it stops answering."""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image

from vauban.errors import BadEndpoint
from vauban.guard.client import ATTEMPTS, Client, Device, Session
from vauban.guard.config import GuardFile
from vauban.guard.policy.rule import Ruling
from vauban.guard.refusal import Code

DECISIONS = {b'{"status":"received"}', b'{"decision":"accept"}', b'{"decision":"reject"}'}
HEADERS = {"content-type", "content-length", "date", "retry-after", "www-authenticate", "connection", "keep-alive"}
LATE = 0.06
"""Seconds after the end of a slot in which an answer may still come: the way there and back, and a busy machine."""
SPOOFED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP")
HIDDEN = ("/", "/docs", "/redoc", "/openapi.json", "/metrics", "/healthz", "/readyz", "/admin", "/login")


def noise(side: int = 112) -> bytes:
    """A JPEG of noise, another one each time."""
    written = io.BytesIO()
    levels = np.random.default_rng(secrets.randbits(64)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(levels).save(written, "JPEG", quality=90)
    return written.getvalue()


@dataclass
class Probe:
    """Looks at one running guard.

    Args:
        client: of its listener for devices, with the API key of a relying party.
        config: what it is said to run with.
        image: one that it would look at; by default noise, which it will hardly accept.
    """

    client: Client
    config: GuardFile
    image: bytes = field(default_factory=noise)
    seen: list[httpx.Response] = field(default_factory=list[httpx.Response], repr=False)

    def judge(self) -> Iterator[Ruling]:
        """Every question, one after the other; the attempts of a few devices that nobody has are spent for it."""
        yield from self.limits()
        yield from self.answers()
        yield self.slots()
        yield self.hidden()

    # ---- 3: limits ------------------------------------------------------------------------------------------------------------------

    def limits(self) -> Iterator[Ruling]:
        """Try with one device, session after session, until nothing is accepted any more; then with headers that claim another origin."""
        device, allowed = Device(), self.config.limits.device.count
        counts = self._until_limited(device, allowed + 2)
        most, total = max(counts, default=0), sum(counts)
        said = f"{total} attempts were let in, at most {most} in one session, then 429"
        yield Ruling.of(3, "a running guard keeps the limit of a session", 0 < most <= self.config.session.attempts, said)
        yield Ruling.of(3, "a running guard keeps the limit of a device", 0 < total <= allowed, said)
        spoofed = {name: f"203.0.113.{secrets.randbelow(250) + 1}" for name in SPOOFED}
        answer = self._attempt(self._session(device), device, headers=spoofed)
        yield Ruling.of(
            3, "headers that claim another origin change nothing", answer.status_code == 429, f"{answer.status_code} for a spent device"
        )

    def _until_limited(self, device: Device, most: int) -> list[int]:
        """How many attempts each session let in, until one let in none."""
        counts: list[int] = []
        for _ in range(most):
            session, let_in = self._session(device), 0
            while self._attempt(session, device).status_code != 429 and let_in <= most:
                let_in += 1
            counts.append(let_in)
            if let_in == 0:
                break
        return counts

    # ---- 2: answers -----------------------------------------------------------------------------------------------------------------

    def answers(self) -> Iterator[Ruling]:
        """What is in the answers so far, and in those to requests that are wrong in some way."""
        for code, answer in self._wrong():
            good = answer.status_code == code.status and _word(answer) == code.word
            yield Ruling.of(2, f"{code.word} is told as such, and no more", good, f"{answer.status_code} {answer.text[:80]}")
        decided = [r for r in self.seen if r.status_code < 300]
        bodies = {r.content for r in decided}
        yield Ruling.of(
            2, "a decision is one of two words, or none", bool(bodies) and bodies <= DECISIONS, f"{len(decided)} answers: {_shown(bodies)}"
        )
        lengths = {len(r.content) for r in decided}
        yield Ruling.of(2, "decisions have one length", len(lengths) <= 1, f"{sorted(lengths)} bytes")
        others = sorted({name for r in self.seen for name in r.headers} - HEADERS)
        yield Ruling.of(2, "no header tells more", not others, ", ".join(others) or "none but type, length and date")
        told = sorted({n for r in self.seen for n in re.findall(r"\d+\.\d+", r.text)})
        yield Ruling.of(2, "no number that could be a score is in any body", not told, ", ".join(told) or "none")

    def _wrong(self) -> Iterator[tuple[Code, httpx.Response]]:
        device = Device()
        session = self._session(device)
        yield Code.INVALID_IMAGE, self._attempt(session, device, b"\xff\xd8 no image")
        yield Code.UNSUPPORTED, self._attempt(session, device, headers={"Content-Type": "text/plain"})
        yield Code.UNAUTHORISED, self._attempt(Session(session.session_id, session.token[:-2] + "xx", 1), device)
        yield Code.UNAUTHORISED, self._attempt(Session("0" * 32, "v1.1.e30." + "A" * 43, 1), device)
        headers = device.headers(session, self.image, signed=self._signed)
        sent = [self.client.http.post(self.client.url.rstrip("/") + ATTEMPTS, content=self.image, headers=headers) for _ in range(2)]
        self.seen += sent
        yield Code.REPLAY, sent[1]

    # ---- 2: time --------------------------------------------------------------------------------------------------------------------

    def slots(self) -> Ruling:
        """When answers came: all of them at the ends of time slots, whatever became of the request."""
        slot, asked = self.config.listen.slot, "answers leave at the ends of time slots, whatever they are"
        kinds = {f"{r.status_code}": r.elapsed.total_seconds() for r in self.seen}
        late = [t % slot for t in (r.elapsed.total_seconds() for r in self.seen)]
        good = sum(over <= LATE for over in late)
        said = f"{good} of {len(late)} within {1000 * LATE:.0f} ms of a multiple of {1000 * slot:g} ms; statuses {', '.join(sorted(kinds))}"
        return Ruling.of(2, asked, bool(late) and good >= 0.9 * len(late), said)

    def hidden(self) -> Ruling:
        """What else is on the listener of devices."""
        found = [path for path in HIDDEN if self._get(path) != 404]
        return Ruling.of(2, "nothing else is on the listener of devices", not found, ", ".join(found) or f"{len(HIDDEN)} paths answer 404")

    # ---- asking ---------------------------------------------------------------------------------------------------------------------

    @property
    def _signed(self) -> bool:
        return self.config.session.device == "signed"

    def _session(self, device: Device) -> Session:
        return self.client.open(device, signed=self._signed)

    def _attempt(
        self, session: Session, device: Device, image: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        answer = self.client.attempt(session, device, image or self.image, signed=self._signed, headers=headers)
        if answer.status_code == Code.UNAVAILABLE.status:
            raise BadEndpoint(f"{self.client.url}: is unavailable; it must be ready before it is probed")
        self.seen.append(answer)
        return answer

    def _get(self, path: str) -> int:
        return self.client.http.get(self.client.url.rstrip("/") + path).status_code


def _word(answer: httpx.Response) -> str:
    try:
        return str(json.loads(answer.content)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


def _shown(bodies: set[bytes]) -> str:
    return ", ".join(sorted(b.decode(errors="replace")[:60] for b in bodies))
