"""The listener against those who do not speak HTTP, or lie in it: a short answer from the closed list or none, and the next one is served."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from raw_http import Answer, Connection, connected, pieces, request
from sqlalchemy import select
from whole_guards import FAST, home, image, served

from vauban.guard.client import ATTEMPTS, Client, Device, Session
from vauban.guard.ledger.chain import records
from vauban.guard.quorum import Quorum
from vauban.guard.refusal import Code
from vauban.guard.server import wire
from vauban.guard.server.problems import BODIES
from vauban.guard.service import Guard

SECONDS = 0.5
"""That headers and bodies may take."""
TEXT = (
    FAST.replace("0.05s", "0.02s").replace("port = 0", f"port = 0\nbody_timeout = {SECONDS}", 1)
    + "[limits]\nnetwork = { count = 100000, window = 60 }\n"
)
TOLD = {"content-type", "content-length", "date", "connection", "retry-after", "www-authenticate"}
Served = tuple[Guard, Client]


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(home(tmp_path_factory.mktemp("wire"), TEXT)) as found:
        yield found


@pytest.fixture
def wired(listener: Served) -> Iterator[Connection]:
    """A connection; after whatever it was used for, the next device is served as if nothing had been."""
    with connected(listener[1].url) as found:
        yield found
    assert good(listener[1]) == 202


def good(client: Client) -> int:
    device = Device()
    return client.attempt(client.open(device), device, image()).status_code


def ready(client: Client, body: bytes) -> tuple[Session, dict[str, str]]:
    """A session, and the headers of an attempt of it."""
    device = Device()
    session = client.open(device)
    return session, device.headers(session, body)


def plain(answer: Answer | None, *codes: Code) -> Answer:
    """An answer that is one of the closed list, and names nobody."""
    assert answer is not None
    assert set(answer.headers) <= TOLD
    assert answer.body in {BODIES[code] for code in codes}
    assert answer.status in {code.status for code in codes}
    return answer


# ---- lengths ------------------------------------------------------------------------------------------------------------------------


def test_a_length_that_is_too_short_cuts_the_body_and_the_rest_is_no_request(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers | {"Content-Length": "100"}, body, length=False))
    plain(wired.answer(), Code.UNAUTHORISED, Code.BAD_REQUEST)
    while (more := wired.answer()) is not None:
        plain(more, Code.BAD_REQUEST, Code.UNAUTHORISED)


def test_a_length_that_is_too_long_is_waited_for_and_not_longer_than_may_be(listener: Served, wired: Connection) -> None:
    body = image()
    session, headers = ready(listener[1], body)
    began = time.monotonic()
    wired.send(request("POST", ATTEMPTS, headers | {"Content-Length": str(len(body) + 10)}, body, length=False))
    plain(wired.answer(), Code.BAD_REQUEST)
    assert SECONDS <= time.monotonic() - began < SECONDS + 2
    assert wired.closed()
    assert listener[1].result(session)["attempts_used"] == 0, "there was no attempt"


@pytest.mark.parametrize("told", ["-1", "+5", "0x10", "1e3", "5, 6", "99999999999999999999999", "five", "5\r\nContent-Length: 6"])
def test_a_length_that_is_no_length_is_no_request(wired: Connection, told: str) -> None:
    wired.send(request("POST", ATTEMPTS, {"Content-Length": told}, b"12345", length=False))
    plain(wired.answer(), Code.BAD_REQUEST)
    assert wired.closed()


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "chunked, identity", "identity, chunked", "xchunked", "\x0bchunked"])
def test_a_length_and_chunks_are_two_bodies_and_no_request(wired: Connection, coding: str) -> None:
    smuggled = b"0\r\n\r\nGET /v1/sessions/x/result HTTP/1.1\r\nHost: guard\r\n\r\n"
    wired.send(request("POST", ATTEMPTS, {"Transfer-Encoding": coding}, smuggled))
    plain(wired.answer(), Code.BAD_REQUEST)
    assert wired.closed(), "nothing behind it was taken for a request"


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-1\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nabc", b"5;" + b"x" * 70000])
def test_chunks_that_lie_are_no_request(wired: Connection, chunks: bytes) -> None:
    wired.send(request("POST", ATTEMPTS, {"Transfer-Encoding": "chunked"}, chunks, length=False))
    plain(wired.answer(), Code.BAD_REQUEST)


def test_chunks_that_never_end_are_counted(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers | {"Transfer-Encoding": "chunked"}, length=False))
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    wired.send(*[chunk] * (listener[0].config.listen.body // 65536 + 2))
    plain(wired.answer(), Code.TOO_LARGE)
    assert wired.closed()


@pytest.mark.parametrize("form", ["length", "chunks"])
def test_a_backend_sends_no_more_than_is_needed_to_open_a_session(listener: Served, wired: Connection, form: str) -> None:
    client, body = listener[1], b'{"device": "' + b"x" * 30_000 + b'"}'
    headers = {"Authorization": "Bearer nobody", "Content-Type": "application/json"}
    if form == "length":
        wired.send(request("POST", "/v1/sessions", headers, body))
    else:
        wired.send(request("POST", "/v1/sessions", headers | {"Transfer-Encoding": "chunked"}, pieces(body), length=False))
    plain(wired.answer(), Code.TOO_LARGE)
    assert good(client) == 202


@pytest.mark.parametrize(
    "body", [b"[" * 16_000, b'{"ttl": ' + b"9" * 10_000 + b"}", b'{"ttl": NaN}', b'{"device": "\\ud800"}', b'"\xff\xfe"', b"null", b"\x00"]
)
def test_json_that_is_meant_to_hurt_is_a_bad_request(listener: Served, wired: Connection, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {listener[1].key}", "Content-Type": "application/json"}
    wired.send(request("POST", "/v1/sessions", headers, body))
    plain(wired.answer(), Code.BAD_REQUEST)


# ---- slowness -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ATTEMPTS, "/v1/sessions"])
def test_a_body_of_a_byte_at_a_time_is_cut_off(listener: Served, wired: Connection, path: str) -> None:
    body = image()
    session, headers = ready(listener[1], body)
    if path != ATTEMPTS:
        headers = {"Authorization": f"Bearer {listener[1].key}", "Content-Type": "application/json"}
    wired.send(request("POST", path, headers, body)[: -len(body)])
    assert SECONDS <= wired.trickle(body, 0.05) < SECONDS + 3
    plain(wired.answer(), Code.BAD_REQUEST)
    assert listener[1].result(session)["attempts_used"] == 0


@pytest.mark.parametrize("said", [b"POST /v1/attempts HTTP/1.1\r\nHost: guard\r\nX: " + b"x" * 200, b"\r\n" * 200])
def test_headers_of_a_byte_at_a_time_are_cut_off(wired: Connection, said: bytes) -> None:
    assert SECONDS <= wired.trickle(said, 0.05) < SECONDS + 3
    plain(wired.answer(), Code.BAD_REQUEST)
    assert wired.closed()


def test_whoever_says_nothing_is_not_waited_for(wired: Connection) -> None:
    began = time.monotonic()
    assert wired.closed()
    assert SECONDS - 0.1 <= time.monotonic() - began < SECONDS + 2


def test_a_connection_is_not_kept_by_a_few_bytes_after_an_answer(wired: Connection) -> None:
    wired.send(request("GET", "/", {}))
    plain(wired.answer(), Code.NOT_FOUND)
    wired.send(b"\r\n")
    began = time.monotonic()
    while wired.answer() is not None:
        pass
    assert time.monotonic() - began < SECONDS + 2


def test_a_body_that_nobody_reads_is_not_waited_for(wired: Connection) -> None:
    wired.send(request("GET", "/nothing", {"Content-Length": "100000000"}, bytes(1000), length=False))
    plain(wired.answer(), Code.NOT_FOUND)
    began = time.monotonic()
    assert wired.closed()
    assert time.monotonic() - began < wire.LINGER + 2


def test_connections_that_wait_for_nothing_do_not_shut_out_those_who_are_served(listener: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = listener
    device, most = Device(), 8
    session = client.open(device)
    monkeypatch.setattr(wire, "CONNECTIONS", most)
    with ExitStack() as held:
        for _ in range(most - 1):
            held.enter_context(connected(client.url)).send(b"GET ")
        time.sleep(0.1)
        plain(held.enter_context(connected(client.url)).answer(), Code.UNAVAILABLE)
        assert client.attempt(session, device, image()).status_code == 202, "a connection that is open is served"
    time.sleep(0.1)
    assert good(client) == 202


# ---- headers ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {f"X-{i}": "x" for i in range(5_000)},
        {"X-Large": "x" * 20_000},
        {"X-Large": "x" * 2_000_000},
        {"X" * 20_000: "x"},
        {"Cookie": "a=b; " * 5_000},
    ],
    ids=["thousands", "large", "huge", "long name", "cookies"],
)
def test_headers_that_are_many_or_large_are_no_request(wired: Connection, headers: dict[str, str]) -> None:
    wired.send(request("GET", "/", headers))
    plain(wired.answer(), Code.BAD_REQUEST)
    assert wired.closed()


def test_a_path_that_is_long_is_no_request(wired: Connection) -> None:
    wired.send(request("GET", "/" + "x" * 100_000, {}))
    plain(wired.answer(), Code.BAD_REQUEST)


def test_headers_that_have_room_are_read(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers | {f"X-{i}": "x" * 100 for i in range(80)}, body))
    answer = wired.answer()
    assert answer is not None and answer.status == 202


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /v1/attempts HTTP/1.1\r\nHost: guard\r\nX-A\x00: b\r\n\r\n",
        b"POST /v1/attempts HTTP/1.1\r\nHost: guard\r\nX-A: b\x00c\r\n\r\n",
        b"POST /v1/attempts HTTP/1.1\r\nHost: guard\r\n X-A: folded\r\n\r\n",
        b"POST /v1/attempts HTTP/1.1\r\nHost: guard\r\nX-A : b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: guard\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: guard\r\n\r\n",
        b"CONNECT guard:443 HTTP/1.1\r\nHost: guard\r\n\r\n",
        b"\xff" * 100_000,
    ],
)
def test_what_is_no_http_gets_one_short_answer(wired: Connection, said: bytes) -> None:
    wired.send(said)
    plain(wired.answer(), Code.BAD_REQUEST, Code.NOT_FOUND)


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK", "REPORT", "MERGE", "PURGE", "M-SEARCH"]
)
def test_methods_that_nobody_offers_find_nothing(wired: Connection, method: str) -> None:
    wired.send(request(method, ATTEMPTS, {}))
    plain(wired.answer(), Code.NOT_FOUND)


@pytest.mark.parametrize("to", ["websocket", "h2c"])
def test_nothing_is_spoken_here_but_http(wired: Connection, to: str) -> None:
    asked = {"Connection": "Upgrade", "Upgrade": to, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    wired.send(request("GET", "/", asked))
    plain(wired.answer(), Code.NOT_FOUND)


@pytest.mark.parametrize("parts", [50_000, 1])
def test_forms_are_not_taken_apart(listener: Served, wired: Connection, parts: int) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\r\n'
    body = part * min(parts, listener[0].config.listen.body // len(part)) + b"--x--\r\n"
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers | {"Content-Type": "multipart/form-data; boundary=x"}, body))
    plain(wired.answer(), Code.UNSUPPORTED)


@pytest.mark.parametrize(
    "path", ["/v1/attempts%00", "/v1/../v1/attempts", "//v1/attempts", "/V1/ATTEMPTS", "/v1/attempts;x", "/%2e%2e/etc/passwd", "*"]
)
def test_paths_are_taken_as_they_are(listener: Served, wired: Connection, path: str) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", path, headers, body))
    plain(wired.answer(), Code.NOT_FOUND, Code.BAD_REQUEST)


# ---- what is unusual and allowed ----------------------------------------------------------------------------------------------------


def test_http_of_1996_is_served_once(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers, body, version="1.0"))
    answer = wired.answer()
    assert answer is not None and (answer.status, answer.headers["connection"]) == (202, "close")
    assert wired.closed()


def test_requests_in_a_row_are_answered_in_a_row(listener: Served, wired: Connection) -> None:
    client, body = listener[1], image()
    device, bodies = Device(), [body, b"\xff\xd8 no image", body]
    session = client.open(device)
    wired.send(b"".join(request("POST", ATTEMPTS, device.headers(session, b), b) for b in bodies) + request("GET", "/", {}))
    answers = [wired.answer() for _ in range(4)]
    assert [a and a.status for a in answers] == [202, 422, 202, 404]
    assert client.result(session)["attempts_used"] == 3


def test_thousands_of_requests_in_a_row_are_answered_or_not_but_do_no_harm(wired: Connection) -> None:
    for _ in range(20):
        wired.send(request("GET", "/", {}) * 100)
    for _ in range(2000):
        plain(wired.answer(), Code.NOT_FOUND)


def test_whoever_has_said_all_is_still_answered(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers, body))
    wired.held.shutdown(1)
    answer = wired.answer()
    assert answer is None or answer.status == 202, "answered, or taken for gone; not refused"


def test_whoever_asks_first_is_told_to_go_on(listener: Served, wired: Connection) -> None:
    body = image()
    _, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers | {"Expect": "100-continue"}, body)[: -len(body)])
    first = wired.answer()
    assert first is not None and first.status == 100
    wired.send(body)
    last = wired.answer()
    assert last is not None and last.status == 202


def test_whoever_asks_first_with_too_much_is_told_so_before_it_is_sent(listener: Served, wired: Connection) -> None:
    _, headers = ready(listener[1], b"")
    wired.send(request("POST", ATTEMPTS, headers | {"Expect": "100-continue", "Content-Length": "100000000"}, length=False))
    plain(wired.answer(), Code.TOO_LARGE)


# ---- going away ---------------------------------------------------------------------------------------------------------------------


def test_whoever_goes_away_in_the_middle_of_a_body_has_not_attempted(listener: Served, wired: Connection) -> None:
    body = image()
    session, headers = ready(listener[1], body)
    wired.send(request("POST", ATTEMPTS, headers, body)[:-10])
    wired.held.close()
    time.sleep(0.2)
    assert listener[1].result(session)["attempts_used"] == 0


def test_whoever_goes_away_while_the_models_look_has_spent_the_attempt_and_it_is_decided(
    listener: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, client = listener
    body, begun, go = image(0.8), threading.Event(), threading.Event()
    session, headers = ready(client, body)
    real = Quorum.ask

    def slow(self: Quorum, picture: object) -> object:
        begun.set()
        go.wait(10)
        return real(self, picture)  # type: ignore[arg-type]

    monkeypatch.setattr(Quorum, "ask", slow)
    with connected(client.url) as wired:
        wired.send(request("POST", ATTEMPTS, headers, body))
        assert begun.wait(10)
    time.sleep(0.1)
    go.set()
    until = time.monotonic() + 10
    while (told := client.result(session))["status"] == "open" and time.monotonic() < until:
        time.sleep(0.05)
    assert (told["attempts_used"], told["decision"]) == (1, "accept")
    with guard.store.read() as tx:
        written = [json.loads(b) for b in tx.run(select(records.c.body).where(records.c.kind == "decision")).scalars()]
    from vauban.guard.sessions.tokens import stored

    assert [w["accept"] for w in written if w["session"] == stored(session.session_id)] == [True]
    assert good(client) == 202


@pytest.mark.slow
def test_a_thousand_slow_connections_are_gone_after_their_time(listener: Served) -> None:
    _, client = listener
    for _ in range(4):
        with ExitStack() as held:
            for _ in range(256):
                held.enter_context(connected(client.url)).send(b"POST /v1/attempts HTTP/1.1\r\n")
            time.sleep(SECONDS + 0.5)
            assert good(client) == 202
