"""Webhooks: signed, repeated until they are taken, and never sent where they should not go."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from vauban.errors import BadGuard
from vauban.guard.alerts import alert
from vauban.guard.alerts.address import Forbidden, pinned
from vauban.guard.alerts.tables import deliveries
from vauban.guard.alerts.webhooks import Sender, hooks_of, signature
from vauban.guard.config.model import Webhook
from vauban.guard.storage import Store

SECRET = "a secret of the receiver"
ENVIRON = {"HOOK": SECRET}


@dataclass
class Receiver:
    """A server that keeps what it is sent and answers as it is told to."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    wait: threading.Event | None = None
    port: int = 0


def serve(receiver: Receiver, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers), body))
            if receiver.wait:
                receiver.wait.wait(10)
            status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


def hook(port: int, path: str = "/hook", allow: Sequence[str] = ("127.0.0.0/8",), scheme: str = "http", host: str = "127.0.0.1") -> Webhook:
    return Webhook(url=f"{scheme}://{host}:{port}{path}", secret_env="HOOK", allow=tuple(allow))


@pytest.fixture
def lite(sqlite_url: str) -> Iterator[Store]:
    """A store on SQLite, where what is tested does not depend on the database."""
    made = Store(sqlite_url)
    made.create()
    yield made
    made.close()


class Moving:
    """A database whose clock goes as the test says."""

    def __init__(self, url: str) -> None:
        self.now = 1_000_000.0
        self.store = Store(url, clock=lambda _: self.now, steady=None)
        self.store.create()


@pytest.fixture
def moving(sqlite_url: str) -> Moving:
    return Moving(sqlite_url)


def raised(store: Store, monitor: str = "boundary-band") -> None:
    with store.write() as tx:
        alert(tx, monitor, "critical", {"evalue": 2e6})


def state(store: Store) -> list[tuple[int, bool, str | None]]:
    with store.read() as tx:
        return [
            (r.tries, r.done is not None, r.error) for r in tx.run(select(deliveries).order_by(deliveries.c.outbox, deliveries.c.webhook))
        ]


def test_a_webhook_gets_the_alert_signed_over_time_and_body(store: Store, receiver: Receiver) -> None:
    raised(store)
    sender = Sender(store, "bank", hooks_of([hook(receiver.port, "/in?x=1")], ENVIRON))
    assert (sender.pump(), sender.pump()) == (1, 0)
    path, headers, body = receiver.got[0]
    told = json.loads(body)
    assert path == "/in?x=1" and headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["X-Vauban-Signature"] == signature(SECRET.encode(), int(headers["X-Vauban-Timestamp"]), body)
    assert (told["guard"], told["event"], told["evidence"]) == ("bank", "alert.opened", {"evalue": 2e6})
    assert str(told["delivery"]) == headers["X-Vauban-Delivery"] and state(store) == [(1, True, None)]


def test_the_signature_is_the_hmac_of_the_time_a_dot_and_the_body() -> None:
    # openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac key
    assert signature(b"key", 1700000000, b"{}") == "v1=" + "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"


def test_what_fails_is_tried_again_later_and_later(moving: Moving, receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (503, {}), (200, {})]
    raised(moving.store)
    sender = Sender(moving.store, "bank", hooks_of([hook(receiver.port)], ENVIRON))
    assert sender.pump() == 1 and state(moving.store) == [(1, False, "answered 500")]
    assert sender.pump() == 0
    moving.now += 1.0
    assert sender.pump() == 1 and state(moving.store) == [(2, False, "answered 503")]
    moving.now += 1.5
    assert sender.pump() == 0
    moving.now += 0.6
    assert sender.pump() == 1 and state(moving.store) == [(3, True, None)]


def test_after_a_day_it_is_given_up(moving: Moving) -> None:
    raised(moving.store)
    sender = Sender(moving.store, "bank", hooks_of([hook(1)], ENVIRON))
    for _ in range(60):
        sender.pump()
        moving.now += 3600.0
    with moving.store.read() as tx:
        row = tx.run(select(deliveries)).one()
    assert row.done is None and row.next is None and 20 < row.tries < 40


def test_a_webhook_that_is_down_holds_up_no_other(moving: Moving, receiver: Receiver) -> None:
    for n in range(12):
        raised(moving.store, f"cluster/{n}")
    sender = Sender(moving.store, "bank", hooks_of([hook(1), hook(receiver.port)], ENVIRON))
    for _ in range(12):
        sender.pump()
    assert len(receiver.got) == 12


def test_a_new_webhook_is_not_told_what_is_older_than_a_day(moving: Moving, receiver: Receiver) -> None:
    raised(moving.store, "old")
    moving.now += 2 * 86400
    raised(moving.store, "new")
    Sender(moving.store, "bank", hooks_of([hook(receiver.port)], ENVIRON)).pump()
    assert [json.loads(body)["alert"]["monitor"] for _, _, body in receiver.got] == ["new"]


def test_what_another_process_is_sending_is_not_sent_twice(store: Store, receiver: Receiver) -> None:
    receiver.wait = threading.Event()
    raised(store)
    hooks = hooks_of([hook(receiver.port)], ENVIRON)
    first = threading.Thread(target=Sender(store, "bank", hooks).pump)
    first.start()
    while not receiver.got:
        pass
    assert Sender(store, "bank", hooks).pump() == 0
    receiver.wait.set()
    first.join()
    assert len(receiver.got) == 1


def test_a_redirection_is_not_followed(lite: Store, receiver: Receiver) -> None:
    receiver.answers = [(307, {"Location": f"http://127.0.0.1:{receiver.port}/secret"})]
    raised(lite)
    Sender(lite, "bank", hooks_of([hook(receiver.port)], ENVIRON)).pump()
    assert [path for path, _, _ in receiver.got] == ["/hook"] and state(lite) == [(1, False, "answered 307")]


def test_a_receiver_that_does_not_answer_is_left_after_its_time(lite: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vauban.guard.alerts.webhooks.TIMEOUT", 0.2)
    receiver.wait = threading.Event()
    raised(lite)
    Sender(lite, "bank", hooks_of([hook(receiver.port)], ENVIRON)).pump()
    receiver.wait.set()
    assert state(lite) == [(1, False, "no answer in 0.2 s")]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_however_the_own_machine_is_written_it_is_not_written_to(lite: Store, receiver: Receiver, host: str) -> None:
    raised(lite)
    Sender(lite, "bank", hooks_of([hook(receiver.port, allow=(), host=host)], ENVIRON)).pump()
    ((_, done, error),) = state(lite)
    assert not done and error and "not a public address" in error and receiver.got == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.9.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a00:1::",
        "2001:0:53aa:64c:0:0:f5ff:fffe",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(Forbidden, match="not a public address"):
        pinned([address], (), encrypted=True)
    with pytest.raises(Forbidden):
        pinned(["93.184.215.14", address], (), encrypted=True)


def test_a_network_that_was_named_is_allowed_and_only_that(lite: Store) -> None:
    assert pinned(["10.1.2.3"], ("10.1.0.0/16",), encrypted=False) == "10.1.2.3"
    assert pinned(["64:ff9b::808:808"], (), encrypted=True) == "64:ff9b::808:808"
    assert pinned(["::ffff:10.1.2.3"], ("10.1.0.0/16",), encrypted=True) == "::ffff:10.1.2.3"
    assert pinned(["93.184.215.14", "10.1.2.3"], ("10.1.0.0/16",), encrypted=True) == "93.184.215.14"
    with pytest.raises(Forbidden, match=r"10\.2\.0\.1"):
        pinned(["10.2.0.1"], ("10.1.0.0/16",), encrypted=True)
    with pytest.raises(Forbidden, match="use https"):
        pinned(["93.184.215.14"], ("10.1.0.0/16",), encrypted=False)


@settings(deadline=None)
@given(st.ip_addresses())
def test_what_is_accepted_without_leave_is_public(address: object) -> None:
    try:
        pinned([str(address)], (), encrypted=True)
    except Forbidden:
        return
    found = ip_address(str(address))
    found = getattr(found, "ipv4_mapped", None) or found
    if found in ip_network("64:ff9b::/96"):
        found = ip_address(int(found) % 2**32)
    assert found.is_global and not (found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_reserved)


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(lite: Store, receiver: Receiver) -> None:
    """DNS rebinding: the second answer would lead elsewhere, so there is no second question."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    raised(lite)
    Sender(lite, "bank", hooks_of([hook(receiver.port, allow=("127.0.0.1/32",), host="hooks.example")], ENVIRON), resolve).pump()
    assert asked == ["hooks.example"] and receiver.got[0][1]["Host"] == f"hooks.example:{receiver.port}"


def test_no_proxy_of_the_environment_is_asked(lite: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    raised(lite)
    Sender(lite, "bank", hooks_of([hook(receiver.port)], ENVIRON)).pump()
    assert len(receiver.got) == 1


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


@pytest.mark.parametrize("name, taken", [("hooks.example", True), ("other.example", False)])
def test_the_certificate_must_be_the_names_not_the_addresss(lite: Store, tmp_path: Path, name: str, taken: bool) -> None:
    theirs, ours = certificate(tmp_path, name)
    receiver = Receiver()
    server = serve(receiver, theirs)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    raised(lite)
    there = hook(receiver.port, scheme="https", host="hooks.example")
    Sender(lite, "bank", hooks_of([there], ENVIRON), resolve, ours).pump()
    server.shutdown()
    server.server_close()
    assert len(receiver.got) == taken and state(lite)[0][1] is taken


@pytest.mark.parametrize(
    "url, said",
    [
        ("https://user:word@hooks.example/", "user name or password"),
        ("https:///nowhere", "must be https"),
        ("https://hooks.example:99999/", "is no URL"),
        ("https://hooks.example/a b", "blanks"),
        ("https://hooks.example/\r\nHost: x", "blanks"),
        ("https://höoks.example/", "other than ASCII"),
    ],
)
def test_a_url_that_cannot_be_meant_is_told_without_its_secret(url: str, said: str) -> None:
    with pytest.raises(BadGuard, match=said) as told:
        hooks_of([Webhook(url=url, secret_env="HOOK")], ENVIRON)
    assert "word" not in str(told.value).replace("password", "")


@pytest.mark.parametrize("environ", [{}, {"HOOK": "short"}])
def test_a_webhook_without_a_secret_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(BadGuard, match="environment variable HOOK must hold a secret"):
        hooks_of([hook(1)], environ)


def test_a_database_that_forgets_no_delivery_forgets_them_after_a_month(moving: Moving, receiver: Receiver) -> None:
    raised(moving.store, "old")
    sender: Callable[[], int] = Sender(moving.store, "bank", hooks_of([hook(receiver.port)], ENVIRON)).pump
    sender()
    moving.now += 31 * 86400
    raised(moving.store, "new")
    sender()
    assert len(state(moving.store)) == 1
