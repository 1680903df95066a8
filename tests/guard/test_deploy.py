"""What is in deploy/: files that parse and fit each other, and a guard behind the real nginx that counts clients where they are."""

from __future__ import annotations

import datetime
import shutil
import ssl
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pages import blocks_of
from servers import free_port, until
from sqlalchemy import select
from whole_guards import FAST, home, image, served

from vauban.guard.client import Client, Device
from vauban.guard.config import GuardFile
from vauban.guard.limits.tables import attempts
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES

ROOT = Path(__file__).parents[2]
DEPLOY, DOCS = ROOT / "deploy", ROOT / "docs" / "guard"
NETWORK = "[limits]\nnetwork = { count = 3, window = '1h' }\n"
TRUSTING = FAST.replace("[listen]\n", "[listen]\ntrusted_proxies = ['127.0.0.1/32']\n") + NETWORK


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def program() -> str:
    """The real nginx."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    return found


def certificate(folder: Path) -> ssl.SSLContext:
    """A key and a certificate for 127.0.0.1 as the configuration names them; what trusts it."""
    key, name, now = generate_private_key(SECP256R1()), x509.Name([]), datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=True).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    folder.mkdir()
    (folder / "fullchain.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


def configured(folder: Path, guard: str, port: int) -> Path:
    """deploy/nginx.conf as it is, but for ports, addresses and folders."""
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for here, there in (
        ("guard-1:8080", guard), ("guard-2:8080", guard), ("listen 8443", f"listen 127.0.0.1:{port}"), ("/etc/nginx/tls", str(folder / "tls")),
        ("/tmp/nginx", str(folder / "nginx")),
    ):  # fmt: skip
        assert here in text
        text = text.replace(here, there)
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def behind(program: str, folder: Path, guard: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A running nginx before a guard, and what trusts its certificate."""
    port, trusting = free_port(), certificate(folder / "tls")
    command = [program, "-p", str(folder), "-c", str(configured(folder, guard, port)), "-g", "daemon off; master_process off;"]
    log = (folder / "nginx.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: process.poll() is None and (folder / "nginx.pid").exists(), "nginx", 10)
            yield f"https://127.0.0.1:{port}", trusting
        finally:
            process.terminate()


def client_at(address: str, url: str, key: str, trusting: ssl.SSLContext) -> Client:
    """A client whose own address is this one."""
    return Client(url, key, httpx.Client(transport=httpx.HTTPTransport(verify=trusting, local_address=address), timeout=30))


def tried(client: Client, **headers: str) -> httpx.Response:
    """One attempt of a new device."""
    device = Device()
    return client.attempt(client.open(device), device, image(), headers=headers)


# ---- files --------------------------------------------------------------------------------------------------------------------------


def test_nginx_takes_its_configuration(program: str, tmp_path: Path) -> None:
    certificate(tmp_path / "tls")
    path = configured(tmp_path, "127.0.0.1:8080", 8443)
    done = subprocess.run([program, "-t", "-p", str(tmp_path), "-c", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('[warn] the "user" directive', "")


def test_what_the_services_mount_and_need_is_there(compose: dict[str, Any]) -> None:
    services, mine = compose["services"], {"./service", "./service/keys", "./service/guard.toml", "./tls", "./metrics.key"}
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            where = volume.split(":")[0]
            assert where in compose["volumes"] or where in mine or (DEPLOY / where).is_file(), f"{name}: {volume}"
        assert set(service.get("depends_on", ())) <= services.keys()
        assert set(service.get("networks", ())) <= compose["networks"].keys()
    assert (DEPLOY / services["guard-1"]["build"]["context"] / services["guard-1"]["build"]["dockerfile"]).is_file()
    own = ("hostname", "ports", "depends_on")
    assert len({str({k: v for k, v in services[name].items() if k not in own}) for name in ("guard-1", "guard-2")}) == 1


def test_services_have_no_more_rights_than_they_need(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"], name
        assert service.get("read_only") or name == "postgres", name
    assert "USER guard" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_only_nginx_is_reached_from_elsewhere(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        published = [str(port) for port in service.get("ports", ())]
        assert name == "nginx" or all(port.startswith("127.0.0.1:") for port in published), name
    for name in ("postgres", "redis"):
        assert all(compose["networks"][n].get("internal") for n in compose["services"][name]["networks"]), name


def test_nginx_knows_the_guards_and_not_their_consoles(compose: dict[str, Any]) -> None:
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert "8081" not in text
    guards = {name for name in compose["services"] if name.startswith("guard-")}
    assert {line.split()[1].partition(":")[0] for line in text.splitlines() if line.strip().startswith("server guard")} == guards
    scraped = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))
    assert set(scraped["scrape_configs"][0]["static_configs"][0]["targets"]) == {f"{name}:8081" for name in guards}


def guard_files() -> list[Any]:
    """Every part of a guard.toml that the documentation shows."""
    found = [(page, b) for page in sorted(DOCS.glob("*.md")) for b in blocks_of(page) if b.language == "toml"]
    return [pytest.param(b.text, id=f"{page.name}:{b.line}") for page, b in found]


@pytest.mark.parametrize("text", guard_files())
def test_what_the_pages_show_of_guard_toml_is_read(text: str) -> None:
    GuardFile.model_validate(tomllib.loads(text))


def test_the_pages_trust_the_proxy_that_the_compose_file_starts(compose: dict[str, Any]) -> None:
    shown = [tomllib.loads(p.values[0]) for p in guard_files() if p.id.startswith("several")]
    trusted = next(table["listen"]["trusted_proxies"] for table in shown if "trusted_proxies" in table.get("listen", {}))
    address = ip_address(compose["services"]["nginx"]["networks"]["front"]["ipv4_address"])
    assert [ip_network(t) for t in trusted] == [ip_network(f"{address}/32")]


# ---- a guard behind nginx -----------------------------------------------------------------------------------------------------------


def test_behind_nginx_networks_are_counted_by_the_clients_own_address(program: str, tmp_path: Path) -> None:
    with (
        served(home(tmp_path / "guard", TRUSTING)) as (guard, direct),
        behind(program, tmp_path, direct.url.removeprefix("http://")) as (url, trusting),
    ):
        one, other = (client_at(a, url, direct.key, trusting) for a in ("127.20.0.5", "127.21.0.5"))
        spoofed = ["198.51.100.7", "203.0.113.9, 198.51.100.7", "127.0.0.1", "nonsense", "127.21.0.5"]
        answers = [tried(one, **{"X-Forwarded-For": said}) for said in spoofed]
        assert [a.status_code for a in answers] == [202] * 3 + [429] * 2, "whatever is claimed, three in an hour of one network"
        assert answers[-1].content == BODIES[Code.LIMITED]
        assert tried(other, **{"X-Forwarded-For": "127.20.0.5"}).status_code == 202, "nobody spends what is another's"
        with guard.store.read() as tx:
            seen = [str(network) for network in tx.run(select(attempts.c.network).order_by(attempts.c.id)).scalars()]
        assert seen == [guard.keys.hashed("network", n) for n in ["127.20.0.0/24"] * 3 + ["127.21.0.0/24"]]


def test_who_goes_around_nginx_is_believed_nothing(tmp_path: Path) -> None:
    with served(home(tmp_path, TRUSTING)) as (guard, direct):
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.22.0.5")) as http:
            answers = [tried(Client(direct.url, direct.key, http), **{"X-Forwarded-For": f"198.51.{n}.7"}) for n in range(4)]
        assert [a.status_code for a in answers] == [202] * 3 + [429]
        with guard.store.read() as tx:
            assert set(tx.run(select(attempts.c.network)).scalars()) == {guard.keys.hashed("network", "127.22.0.0/24")}


def test_nginx_passes_on_the_four_operations_and_tells_the_rest_like_the_guard(program: str, tmp_path: Path) -> None:
    with (
        served(home(tmp_path / "guard", FAST)) as (_, direct),
        behind(program, tmp_path, direct.url.removeprefix("http://")) as (url, trusting),
    ):
        client = client_at("127.20.0.5", url, direct.key, trusting)
        device = Device()
        session = client.open(device)
        assert client.attempt(session, device, image()).status_code == 202
        assert client.result(session)["decision"] == "accept"
        client.close(session)
        for path in ("/", "/metrics", "/readyz", "/login", "/v1", "/v1/sessions/a/b/c", "/openapi.json", "/static/console.css"):
            answer = client.http.get(url + path)
            assert (answer.status_code, answer.content) == (404, BODIES[Code.NOT_FOUND]), path
            assert answer.headers["content-type"] == "application/problem+json"
        large = client.attempt(client.open(device), device, b"\xff\xd8" + bytes(4 << 20))
        assert (large.status_code, large.content) == (413, BODIES[Code.TOO_LARGE])
        seen = client.http.get(url + "/").headers["server"]
        assert seen == "nginx", "no version"


def test_without_a_guard_nginx_says_that_no_decision_can_be_made(program: str, tmp_path: Path) -> None:
    with behind(program, tmp_path, f"127.0.0.1:{free_port()}") as (url, trusting):
        answer = client_at("127.20.0.5", url, "key", trusting).http.post(url + "/v1/attempts", content=b"x")
        assert (answer.status_code, answer.content) == (503, BODIES[Code.UNAVAILABLE])


def test_a_flood_of_attempts_ends_at_nginx(program: str, tmp_path: Path) -> None:
    with behind(program, tmp_path, f"127.0.0.1:{free_port()}") as (url, trusting):
        http = client_at("127.20.0.5", url, "key", trusting).http
        answers = [http.post(url + "/v1/attempts", content=b"x") for _ in range(120)]
        limited = [a for a in answers if a.status_code == 429]
        assert limited and {(a.content, a.headers["Retry-After"]) for a in limited} == {(BODIES[Code.LIMITED], "60")}
