"""The listener of devices and backends, asked over HTTP on a real port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_guards import FAST, Home, home, image, served

from vauban.guard.client import Client, Device, Session
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES
from vauban.guard.service import Guard
from vauban.guard.sessions.receipts import read_receipt

Served = tuple[Guard, Client]


@pytest.fixture(scope="module")
def two_phase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(home(tmp_path_factory.mktemp("guard"))) as found:
        yield found


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(home(tmp_path_factory.mktemp("direct"), FAST + '[session]\nmode = "direct"\n')) as found:
        yield found


def test_a_live_attempt_is_accepted_and_the_backend_learns_it_with_a_receipt(two_phase: Served) -> None:
    guard, client = two_phase
    device = Device()
    session = client.open(device, "account-1")
    answer = client.attempt(session, device, image(0.8))
    assert (answer.status_code, answer.content) == (202, b'{"status":"received"}')
    told = client.result(session)
    assert (told["status"], told["decision"], told["attempts_used"]) == ("decided", "accept", 1)
    receipt = read_receipt(guard.keys.public, told["receipt"])
    assert receipt["decision"] == "accept" and receipt["session_id"] == session.session_id


def test_spoofs_are_rejected_and_the_device_is_not_told_so(two_phase: Served) -> None:
    _, client = two_phase
    device = Device()
    session = client.open(device)
    answers = [client.attempt(session, device, image(0.2)) for _ in range(session.attempts)]
    assert {(a.status_code, a.content) for a in answers} == {(202, b'{"status":"received"}')}
    assert client.result(session)["decision"] == "reject"
    assert client.attempt(session, device, image(0.8)).status_code == 401, "a session whose result was fetched is over"


def test_in_direct_mode_the_device_is_told_one_of_two_words_of_one_length(direct: Served) -> None:
    _, client = direct
    device = Device()
    session = client.open(device)
    rejected, accepted = (client.attempt(session, device, image(b)) for b in (0.2, 0.8))
    assert (rejected.status_code, rejected.content) == (200, b'{"decision":"reject"}')
    assert (accepted.status_code, accepted.content) == (200, b'{"decision":"accept"}')
    assert {k: v for k, v in rejected.headers.items() if k != "date"} == {k: v for k, v in accepted.headers.items() if k != "date"}


def test_what_is_flagged_is_told_like_any_reject(direct: Served) -> None:
    _, client = direct
    same = image(0.8)
    answers = []
    for _ in range(2):
        device = Device()
        answers.append(client.attempt(client.open(device), device, same))
    fresh = Device()
    plain = client.attempt(client.open(fresh), fresh, image(0.2))
    assert answers[0].content == b'{"decision":"accept"}'
    assert answers[1].content == plain.content and answers[1].headers.keys() == plain.headers.keys()
    assert b'"replay"' not in answers[1].content


def test_no_answer_names_the_server_or_counts_down(direct: Served) -> None:
    _, client = direct
    device = Device()
    answer = client.attempt(client.open(device), device, image())
    assert set(answer.headers) == {"content-type", "content-length", "date"}


def test_an_eleventh_attempt_of_a_device_in_a_day_is_refused_whatever_it_claims(tmp_path: Path) -> None:
    with served(home(tmp_path, FAST + "[session]\nattempts = 5\n[lockout]\nfails = 100\n")) as (_, client):
        device, statuses = Device(), []
        for _ in range(3):
            session = client.open(device)
            statuses += [
                client.attempt(session, device, image(), headers={"X-Forwarded-For": f"198.51.100.{len(statuses)}"}).status_code
                for _ in range(5)
            ]
        assert statuses == [202] * 10 + [429] * 5
        answer = client.attempt(client.open(device), device, image())
        assert answer.content == BODIES[Code.LIMITED] and int(answer.headers["Retry-After"]) % 60 == 0


@pytest.mark.parametrize(
    "code, headers, body",
    [
        (Code.INVALID_IMAGE, {}, b"\xff\xd8 no image"),
        (Code.UNSUPPORTED, {"Content-Type": "text/html"}, None),
        (Code.UNSUPPORTED, {"Content-Type": "multipart/form-data; boundary=x"}, None),
        (Code.BAD_REQUEST, {}, b""),
        (Code.BAD_REQUEST, {"X-Vauban-Nonce": "short"}, None),
        (Code.BAD_REQUEST, {"X-Vauban-Timestamp": "yesterday"}, None),
        (Code.UNAUTHORISED, {"X-Vauban-Timestamp": "1000"}, None),
        (Code.UNAUTHORISED, {"X-Vauban-Signature": "AAAA"}, None),
        (Code.UNAUTHORISED, {"Authorization": "Bearer v1.1.e30.AAAA"}, None),
        (Code.UNAUTHORISED, {"Authorization": "Basic dTpw"}, None),
    ],
)
def test_what_is_wrong_is_told_from_the_closed_list(two_phase: Served, code: Code, headers: dict[str, str], body: bytes | None) -> None:
    _, client = two_phase
    device = Device()
    answer = client.attempt(client.open(device), device, image() if body is None else body, headers=headers)
    assert (answer.status_code, answer.content) == (code.status, BODIES[code])
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_too_large_is_refused_however_it_is_announced(two_phase: Served) -> None:
    guard, client = two_phase
    device = Device()
    session, large = client.open(device), b"\xff\xd8" + bytes(guard.config.listen.body)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    announced = client.attempt(session, device, large)
    chunked = client.http.post(client.url + "/v1/attempts", content=pieces(), headers=device.headers(session, large))
    assert (announced.status_code, chunked.status_code) == (413, 413)
    assert announced.content == chunked.content == BODIES[Code.TOO_LARGE]


def test_a_nonce_is_good_once(two_phase: Served) -> None:
    _, client = two_phase
    device = Device()
    session, body = client.open(device), image()
    headers = device.headers(session, body)
    answers = [client.http.post(client.url + "/v1/attempts", content=body, headers=headers) for _ in range(2)]
    assert [a.status_code for a in answers] == [202, 409]


def test_a_body_that_was_swapped_under_its_signature_is_refused(two_phase: Served) -> None:
    _, client = two_phase
    device = Device()
    session = client.open(device)
    headers = device.headers(session, image(0.2))
    assert client.http.post(client.url + "/v1/attempts", content=image(0.8), headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/metrics", "/healthz", "/readyz", "/login", "/v1/attempts/", "/v1"])
def test_nothing_else_is_on_this_listener(two_phase: Served, path: str) -> None:
    _, client = two_phase
    answer = client.http.get(client.url + path)
    assert (answer.status_code, answer.content) == (404, BODIES[Code.NOT_FOUND])


def test_unknown_foreign_and_malformed_sessions_are_told_alike(two_phase: Served) -> None:
    _, client = two_phase
    found = [
        client.http.get(f"{client.url}/v1/sessions/{id_}/result", headers={"Authorization": f"Bearer {client.key}"})
        for id_ in ("0" * 32, "nonsense", "%00")
    ]
    assert {(a.status_code, a.content) for a in found} == {(404, BODIES[Code.NOT_FOUND])}


def test_nobody_opens_sessions_without_a_key(two_phase: Served) -> None:
    _, client = two_phase
    for given in ("", "Bearer", "Bearer wrong", f"Basic {client.key}"):
        answer = client.http.post(client.url + "/v1/sessions", json={"device": "d"}, headers={"Authorization": given})
        assert answer.status_code in {400, 401} and answer.content in BODIES.values()


def test_the_same_idempotency_key_gives_the_same_session(two_phase: Served) -> None:
    _, client = two_phase
    asked = {"device_key": Device().public, "account": "a"}
    headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "once"}
    first, again = (client.http.post(client.url + "/v1/sessions", json=asked, headers=headers).json() for _ in range(2))
    assert first["session_id"] == again["session_id"]
    other = client.http.post(client.url + "/v1/sessions", json=asked | {"account": "b"}, headers=headers)
    assert other.content == BODIES[Code.BAD_REQUEST]


def test_a_closed_session_takes_no_attempt(two_phase: Served) -> None:
    _, client = two_phase
    device = Device()
    session = client.open(device)
    client.close(session)
    assert client.attempt(session, device, image()).status_code == 401


def test_every_answer_to_a_device_leaves_at_the_end_of_a_slot(two_phase: Served) -> None:
    guard, client = two_phase
    device, slot = Device(), guard.config.listen.slot
    session = client.open(device)
    answers = [
        client.attempt(session, device, image()),
        client.attempt(session, device, b"\xff\xd8 no"),
        client.attempt(Session(session.session_id, "v1.1.e30." + "A" * 43, 1), device, image()),
    ]
    assert [a.status_code for a in answers] == [202, 422, 401]
    assert min(a.elapsed.total_seconds() for a in answers) >= slot


def test_a_decision_is_in_the_ledger_or_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at: Home = home(tmp_path)
    with served(at) as (guard, client):
        device = Device()
        session = client.open(device)

        def full(*_: object, **__: object) -> int:
            from vauban.errors import GuardDown

            raise GuardDown("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(type(guard.ledger), "append", full)
            answer = client.attempt(session, device, image(0.8))
        assert (answer.status_code, answer.content) == (503, BODIES[Code.UNAVAILABLE])
        told = client.result(session)
        assert (told["attempts_used"], told["decision"]) == (1, None), "spent, and nothing decided"
