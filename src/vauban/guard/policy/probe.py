"""Asks a running guard as a stranger would, and compares what comes back: what it shows, when it answers, and when it stops answering."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import shorten

import httpx

from vauban.errors import BadEndpoint
from vauban.guard.client import ATTEMPTS, Client, Device, Session
from vauban.guard.config import GuardFile
from vauban.guard.policy.picture import fresh, noise
from vauban.guard.policy.reach import fields, require_guard
from vauban.guard.policy.rule import Ruling
from vauban.guard.policy.tried import LET_IN, Tried
from vauban.guard.refusal import Code

DECISIONS = {b'{"status":"received"}', b'{"decision":"accept"}', b'{"decision":"reject"}'}
HEADERS = {"content-type", "content-length", "date", "retry-after", "www-authenticate", "connection", "keep-alive"}
LATE = 0.06
"""Seconds after the end of a slot in which an answer may still come: the way there and back, and a busy machine."""
SPOOFED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP")
SHORT, SHOWN = 60, 240
"""Characters of a body that are shown as they are, and that are shown at all."""
HIDDEN = ("/", "/docs", "/redoc", "/openapi.json", "/metrics", "/healthz", "/readyz", "/admin", "/login")


@dataclass
class Probe:
    """Looks at one running guard.

    Args:
        client: of its listener for devices, with the API key of a relying party.
        config: what it is said to run with.
        image: one that it would look at, by default noise, which it will hardly accept; each attempt hands in another version of it.
    """

    client: Client
    config: GuardFile
    image: bytes = field(default_factory=noise)
    seen: list[httpx.Response] = field(default_factory=list[httpx.Response], repr=False)

    def judge(self) -> Iterator[Ruling]:
        """Every question, one after the other; the attempts of a few devices that nobody has are spent for it.

        Raises:
            BadEndpoint: no guard answers, or not this one.
            GuardDown: it is unavailable.
        """
        require_guard(self.client, signed=self._signed)
        yield from self.limits()
        yield from self.answers()
        yield self.slots()
        yield self.hidden()

    # ---- 3: limits ------------------------------------------------------------------------------------------------------------------

    def limits(self) -> Iterator[Ruling]:
        """Try with one device, session after session, until nothing is accepted any more; then with headers that claim another origin."""
        device, allowed = Device(), self.config.limits.device.count
        tried = self._tried(device, allowed)
        yield tried.session(self.config.session.attempts)
        yield tried.device(allowed)
        asked = "headers that claim another origin change nothing"
        if not tried.spent:
            yield Ruling.unable(3, asked, "the device was not spent")
            return
        spoofed = {name: f"203.0.113.{secrets.randbelow(250) + 1}" for name in SPOOFED}
        answer = self._attempt(self._session(device), device, headers=spoofed)
        yield Ruling.of(3, asked, answer.status_code == Code.LIMITED.status, f"{answer.status_code} for a spent device")

    def _tried(self, device: Device, allowed: int) -> Tried:
        """Open sessions and try in each until one lets in nothing, or the device was let in once too often."""
        tried, total, let_in = list[tuple[int, int]](), 0, 1
        while let_in and total <= allowed:
            session, let_in, status = self._session(device), 0, min(LET_IN)
            while status in LET_IN and total <= allowed:
                status = self._attempt(session, device).status_code
                let_in += status in LET_IN
                total += status in LET_IN
            tried.append((let_in, status))
        return Tried(tried)

    # ---- 2: answers -----------------------------------------------------------------------------------------------------------------

    def answers(self) -> Iterator[Ruling]:
        """What is in the answers so far, and in those to requests that are wrong in some way."""
        yield from (_refusal(code, answer) for code, answer in self._wrong())
        decided = [r for r in self.seen if r.status_code < 300]
        bodies, lengths = {r.content for r in decided}, {len(r.content) for r in decided}
        none = _statuses(self.seen)
        for asked, good, said in (
            ("a decision is one of two words, or none", bodies <= DECISIONS, f"{len(decided)} answers: {_shown(bodies)}"),
            ("decisions have one length", len(lengths) <= 1, f"{', '.join(map(str, sorted(lengths)))} bytes"),
        ):
            yield Ruling.of(2, asked, good, said) if decided else Ruling.unable(2, asked, f"there was no decision to look at; {none}")
        others = sorted({name for r in self.seen for name in r.headers} - HEADERS)
        told = sorted({n for r in self.seen for n in re.findall(r"\d+\.\d+", r.text)})
        for asked, found, clean in (
            ("no header tells more", others, "none but type, length and date"),
            ("no number that could be a score is in any body", told, "none"),
        ):
            yield Ruling.of(2, asked, not found, ", ".join(found) or clean) if self.seen else Ruling.unable(2, asked, none)

    def _wrong(self) -> Iterator[tuple[Code, httpx.Response]]:
        device = Device()
        session = self._session(device)
        yield Code.INVALID_IMAGE, self._attempt(session, device, b"\xff\xd8 no image")
        yield Code.UNSUPPORTED, self._attempt(session, device, headers={"Content-Type": "text/plain"})
        yield Code.UNAUTHORISED, self._attempt(Session(session.session_id, session.token[:-2] + "xx", 1), device)
        yield Code.UNAUTHORISED, self._attempt(Session("0" * 32, "v1.1.e30." + "A" * 43, 1), device)
        image = self._fresh()
        headers = device.headers(session, image, signed=self._signed)
        sent = [self.client.http.post(self.client.url.rstrip("/") + ATTEMPTS, content=image, headers=headers) for _ in range(2)]
        self.seen += sent
        yield Code.REPLAY, sent[1]

    # ---- 2: time --------------------------------------------------------------------------------------------------------------------

    def slots(self) -> Ruling:
        """When answers came: all of them at the ends of time slots, whatever became of the request."""
        slot, asked = self.config.listen.slot, "answers leave at the ends of time slots, whatever they are"
        late = [t % slot for t in (r.elapsed.total_seconds() for r in self.seen)]
        if not late:
            return Ruling.unable(2, asked, "there was no answer")
        good = sum(over <= LATE for over in late)
        said = f"{good} of {len(late)} within {1000 * LATE:.0f} ms of a multiple of {1000 * slot:g} ms; {_statuses(self.seen)}"
        return Ruling.of(2, asked, good >= 0.9 * len(late), said)

    def hidden(self) -> Ruling:
        """What else is on the listener of devices."""
        found = [path for path in HIDDEN if self._get(path) != 404]
        return Ruling.of(2, "nothing else is on the listener of devices", not found, ", ".join(found) or f"{len(HIDDEN)} paths answer 404")

    # ---- asking ---------------------------------------------------------------------------------------------------------------------

    @property
    def _signed(self) -> bool:
        return self.config.session.device == "signed"

    def _fresh(self) -> bytes:
        return fresh(self.image, self.config.listen.body)

    def _session(self, device: Device) -> Session:
        return self.client.open(device, signed=self._signed)

    def _attempt(
        self, session: Session, device: Device, image: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        answer = self.client.attempt(session, device, image or self._fresh(), signed=self._signed, headers=headers)
        if answer.status_code == Code.UNAVAILABLE.status:
            raise BadEndpoint(f"{self.client.url}: is unavailable; it must be ready before it is probed")
        self.seen.append(answer)
        return answer

    def _get(self, path: str) -> int:
        return self.client.http.get(self.client.url.rstrip("/") + path).status_code


def _refusal(code: Code, answer: httpx.Response) -> Ruling:
    """Whether a request that is wrong in some way was refused for that."""
    asked, said = f"{code.word} is told as such, and no more", f"{answer.status_code} {_told(answer.content)}"
    if answer.status_code == Code.LIMITED.status:
        return Ruling.unable(2, asked, f"{said}: a limit answered first")
    return Ruling.of(2, asked, answer.status_code == code.status and fields(answer.content).get("type") == code.word, said)


def _statuses(seen: Iterable[httpx.Response]) -> str:
    return f"statuses {', '.join(sorted({str(r.status_code) for r in seen})) or 'none'}"


def _shown(bodies: set[bytes]) -> str:
    """Bodies as they came, where they are as short as decisions are."""
    return ", ".join(sorted(_told(b) if len(b) > SHORT else b.decode(errors="replace") for b in bodies))


def _told(body: bytes) -> str:
    """A body, JSON with spaces where lines may be broken, and cut between words."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except ValueError:
        text = body.decode(errors="replace")
    return shorten(text, SHOWN, placeholder=" ...") if len(text) > SHOWN else text
