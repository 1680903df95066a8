"""No way in: whatever is done to a token or to headers, nobody is let in who was not, and nothing of it reaches the log as it was sent."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import Answer, connected, request
from sqlalchemy import func, select
from whole_guards import FAST, home, image, served

from vauban.guard.client import ATTEMPTS, Client, Device, Session
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES
from vauban.guard.service import Guard

TEXT = (
    FAST.replace("0.05s", "0.005s")
    + "[session]\nattempts = 100\n[limits]\n"
    + "".join(f"{scope} = {{ count = 1000000, window = 60 }}\n" for scope in ("device", "account", "network"))
    + "[lockout]\nfails = 1000000\n"
)
NO_WAY_IN = {400, 401, 409, 429}
BODY = image(0.8, seed=1)
LATIN = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
EVIL = (
    "\x1b[2J\x1b[31m", "\x00", "\x07", "\x9b31m", "\n", "\r\n", "\r\n\r\n", "\u0085", "%0d%0aSet-Cookie: a=b", "${jndi:ldap://x}", "{0.__class__}", "%s%n",
    "' OR 1=1 --", "../../../etc/passwd", "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "\t2026-01-01 CRITICAL forged",
)  # fmt: skip
few = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=1_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guard, Client]]:
    with served(home(tmp_path_factory.mktemp("fuzz"), TEXT)) as found:
        yield found


class Door:
    """A session with a token, and a connection to try the door with."""

    def __init__(self, guard: Guard, client: Client) -> None:
        self.guard, self.client = guard, client
        self.device = Device()
        self.session: Session = client.open(self.device)
        self.other: Session = client.open(Device())

    def headers(self) -> dict[str, str]:
        """Headers that would be let in, new for every try."""
        return self.device.headers(self.session, BODY)

    def tried(self, headers: Mapping[str, str], body: bytes = BODY) -> Answer:
        with connected(self.client.url) as wired:
            wired.send(request("POST", ATTEMPTS, headers, body))
            answer = wired.answer()
        assert answer is not None
        return answer

    def admitted(self) -> int:
        with self.guard.store.read() as tx:
            return int(tx.run(select(func.count()).select_from(attempts)).scalar_one())

    def shut(self, headers: Mapping[str, str], body: bytes = BODY) -> None:
        """Nobody is let in, and whoever is not costs nobody an attempt."""
        before = self.admitted()
        answer = self.tried(headers, body)
        assert answer.status in NO_WAY_IN, answer
        assert answer.body in BODIES.values()
        assert self.admitted() == before


@pytest.fixture(scope="module")
def door(listener: tuple[Guard, Client]) -> Door:
    return Door(*listener)


def test_the_door_opens_with_what_these_tests_change(door: Door) -> None:
    assert door.tried(door.headers()).status == 202


# ---- tokens -------------------------------------------------------------------------------------------------------------------------


@st.composite
def mutations(draw: st.DrawFn, token: str) -> str:
    """A token that is not the one that was given."""
    head, kid, payload, mac = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    kind = draw(st.sampled_from(["swap", "cut", "double", "claim", "kid", "key", "join", "case", "pad", "text"]))
    at = draw(st.integers(0, len(token) - 1))
    if kind == "swap":
        found = token[:at] + draw(LATIN) + token[at + 1 :]
    elif kind == "cut":
        found = token[:at] + token[at + draw(st.integers(1, 60)) :]
    elif kind == "double":
        found = token[:at] + token[at : at + draw(st.integers(1, 60))] * 2 + token[at:]
    elif kind == "claim":
        told |= draw(
            st.dictionaries(
                st.sampled_from(["sid", "key", "exp", "aud", "alg", "attempts"]), st.one_of(st.none(), st.text(), st.integers()), min_size=1
            )
        )
        found = f"{head}.{kid}.{_b64(json.dumps(told).encode())}.{mac}"
    elif kind == "kid":
        found = f"{head}.{draw(st.one_of(st.sampled_from(['0', '01', '2', '..', 'null', '-1', '']), st.text(LATIN, max_size=40)))}.{payload}.{mac}"
    elif kind == "key":  # signed, with what is no secret
        start = f"{head}.{kid}.{payload if draw(st.booleans()) else _b64(json.dumps(told | {'exp': 9e9}).encode())}"
        key = draw(st.sampled_from([b"", b"secret", kid.encode(), bytes(32), told["key"].encode()]))
        found = f"{start}.{_b64(hmac.digest(key, start.encode(), draw(st.sampled_from(['sha256', 'sha1', 'md5', 'sha512']))))}"
    elif kind == "join":
        found = draw(st.sampled_from([f"{token}, {token}", f"{token} {token}", f"{token}\t", f"{token};", f'"{token}"', f"{token},"]))
    elif kind == "case":
        found = draw(st.sampled_from([token.upper(), token.lower(), token.swapcase(), token[::-1]]))
    elif kind == "pad":
        found = token + draw(st.sampled_from(["=", "==", ".", "A", "%20", "\xa0", "A" * 3000]))
    else:
        found = draw(st.text(LATIN, max_size=200))
    return found if found.strip() != token else "v1"


def _b64(told: bytes) -> str:
    return base64.urlsafe_b64encode(told).rstrip(b"=").decode()


def fuzz_tokens(door: Door, how: settings) -> None:
    @how
    @given(st.data())
    def one(data: st.DataObject) -> None:
        word = data.draw(st.sampled_from(["Bearer ", "bearer ", "Bearer  ", "", "Basic ", "Bearer\t", "Bearer Bearer "]))
        door.shut(door.headers() | {"Authorization": word + data.draw(mutations(door.session.token))})

    one()


def test_a_token_that_was_changed_in_any_way_is_no_way_in(door: Door) -> None:
    fuzz_tokens(door, few)


@pytest.mark.slow
def test_thousands_of_changed_tokens_are_no_way_in(door: Door) -> None:
    fuzz_tokens(door, many)


def test_a_token_of_another_session_is_no_way_in_for_this_device(door: Door) -> None:
    door.shut(door.headers() | {"Authorization": f"Bearer {door.other.token}"})


@pytest.mark.parametrize("extra", ["X-Token", "Cookie", "Proxy-Authorization", "X-Api-Key", "Authentication"])
def test_a_token_in_another_header_is_no_way_in(door: Door, extra: str) -> None:
    headers = door.headers()
    token = headers.pop("Authorization")
    door.shut(headers | {extra: token})


# ---- all headers --------------------------------------------------------------------------------------------------------------------


def fuzz_headers(door: Door, how: settings) -> None:
    """Headers that carry what lets in are broken, others are added: the first are no way in, the others change nothing."""
    signed = ["Authorization", "X-Vauban-Nonce", "X-Vauban-Timestamp", "X-Vauban-Signature"]
    values = st.one_of(st.text(LATIN, max_size=100), st.sampled_from(EVIL), st.integers().map(str))

    @how
    @given(
        st.dictionaries(st.sampled_from(signed), values, min_size=1),
        st.dictionaries(st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True), values, max_size=3),
    )
    def one(broken: dict[str, str], more: dict[str, str]) -> None:
        headers = door.headers()
        framing = {
            "content-length",
            "transfer-encoding",
            "content-type",
            "host",
            "connection",
            "expect",
            "upgrade",
            *(name.lower() for name in headers),
        }
        changed = {name: value for name, value in broken.items() if value.strip() != headers[name]}
        door.shut(
            headers | {name: value for name, value in more.items() if name.lower() not in framing} | (changed or {"X-Vauban-Nonce": "x"})
        )

    one()


def test_headers_that_were_changed_in_any_way_are_no_way_in(door: Door) -> None:
    fuzz_headers(door, few)


@pytest.mark.slow
def test_thousands_of_changed_headers_are_no_way_in(door: Door) -> None:
    fuzz_headers(door, many)


@pytest.mark.parametrize("name", ["X-Vauban-Nonce", "X-Vauban-Timestamp", "X-Vauban-Signature", "Authorization"])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_that_stands_there_twice_does_not_get_around_the_signature(door: Door, name: str, first: bool) -> None:
    """Whichever of the two is read, the other one counts for nothing: the attempt is the signed one, or none."""
    headers, other = door.headers(), door.headers()
    fields = [(name, other[name])] if first else []
    fields += list(headers.items()) + ([] if first else [(name, other[name])])
    said = "\r\n".join(
        [f"POST {ATTEMPTS} HTTP/1.1", "Host: guard", *(f"{k}: {v}" for k, v in fields), f"Content-Length: {len(BODY)}", "", ""]
    )
    before = door.admitted()
    with connected(door.client.url) as wired:
        wired.send(said.encode("latin-1") + BODY)
        answer = wired.answer()
    assert answer is not None and answer.status in {202, *NO_WAY_IN}
    assert door.admitted() - before == (answer.status == 202)


def test_an_attempt_that_was_taken_is_taken_once_however_it_is_dressed(door: Door) -> None:
    session = door.client.open(door.device)
    headers = door.device.headers(session, BODY)
    assert door.tried(headers).status == 202
    for dressed in (
        {},
        {"X-Forwarded-For": "198.51.100.7"},
        {"Content-Type": "image/jpeg"},
        {"User-Agent": "another"},
        {"Authorization": headers["Authorization"].replace("Bearer", "BEARER")},
    ):
        assert door.tried(headers | dressed).status == 409


@pytest.mark.parametrize("seconds", [-31, 31, -86400, 86400, 10**11, -1_700_000_000])
def test_a_signed_time_that_is_not_now_is_no_way_in(door: Door, seconds: int) -> None:
    device = replace(door.device, clock=lambda: time.time() + seconds)
    door.shut(device.headers(door.session, BODY))


# ---- the log ------------------------------------------------------------------------------------------------------------------------

MARK = "m4rk3d"
RAW = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Shown(logging.Handler):
    """What a log file would hold, formatted as the default handlers format it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def shown() -> Iterator[list[str]]:
    """All that is logged by anybody, at every level."""
    handler, root = Shown(), logging.getLogger()
    names = ("", "vauban.guard", "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


PLACES = ("Authorization", "X-Vauban-Nonce", "X-Vauban-Timestamp", "X-Vauban-Signature", "Content-Type", "X-Forwarded-For", "User-Agent", "Idempotency-Key", "Cookie", "Host", "X-Other")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", [ATTEMPTS, "/v1/sessions", f"/v1/sessions/{MARK}/result", f"/{MARK}\x1b[31m%0a%0d"])
def test_nothing_that_is_sent_reaches_the_log_as_it_was_sent(door: Door, shown: list[str], path: str, place: str) -> None:
    for evil in EVIL:
        headers = {"Host": "guard", **door.headers()} | {place: f"{evil}{MARK}{evil}"}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Content-Length: 2", "", "{}"]
        with connected(door.client.url) as wired:
            wired.send("\r\n".join(lines).encode("latin-1"))
            answer = wired.answer()
        assert answer is None or answer.status < 500
        assert MARK.encode() not in (answer.body if answer else b"")
        assert not answer or not any(MARK in value for value in answer.headers.values())
    clean(shown, door)


def clean(shown: list[str], door: Door) -> None:
    assert shown, "something is logged"
    for line in shown:
        assert not RAW.search(line.replace("\n", "", line.count("\n") if "Traceback" in line else 0)), repr(line)
        assert MARK not in line, repr(line)
        assert door.session.token not in line and door.client.key not in line


def test_bodies_and_accounts_do_not_reach_the_log(door: Door, shown: list[str]) -> None:
    key: dict[str, Any] = {"Authorization": f"Bearer {door.client.key}"}
    for account in (f"{MARK}", f"{MARK}\n{MARK}", f"\x1b[31m{MARK}"):
        door.client.http.post(
            door.client.url + "/v1/sessions", json={"device_key": door.device.public, "account": account, "purpose": MARK}, headers=key
        )
        door.client.http.post(door.client.url + "/v1/sessions", json={"device_key": account}, headers=key)
    door.tried(door.device.headers(door.session, BODY), BODY + MARK.encode())
    door.tried(door.device.headers(door.client.open(door.device), b"\xff\xd8" + MARK.encode()), b"\xff\xd8" + MARK.encode())
    clean(shown, door)


def test_what_was_thrown_by_surprise_is_logged_without_what_was_sent(door: Door, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def surprised(*_: object, **__: object) -> None:
        raise ValueError("a surprise")

    session = door.client.open(door.device)
    with monkeypatch.context() as patched:
        patched.setattr(type(door.guard.decoder), "decode", surprised)
        answer = door.tried(door.device.headers(session, BODY))
    assert (answer.status, answer.body) == (503, BODIES[Code.UNAVAILABLE])
    assert any("a surprise" in line for line in shown)
    for line in shown:
        assert session.token not in line and session.session_id not in line
        assert sha256(BODY).hexdigest() not in line
