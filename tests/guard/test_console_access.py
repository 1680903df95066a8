"""The console's door: who may look, who may act, and that a cookie, a form or a header that is not theirs opens nothing."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from console_worlds import Scene, hashed, key_of_operator, scene, seed
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from vauban.guard.alerts.tables import OPEN, alerts
from vauban.guard.console import console_app
from vauban.guard.console.access import COOKIE, FAILURES, visits
from vauban.guard.console.acts import acts
from vauban.guard.console.app import HEADERS
from vauban.guard.console.door import door
from vauban.guard.console.views import views
from vauban.guard.keys import make_keys, read_keys
from vauban.guard.ledger.chain import records
from vauban.guard.limits.tables import locks
from vauban.guard.rotation.tables import ensembles
from vauban.guard.storage import Store

OPEN_TO_ALL = {"/login", "/healthz", "/readyz"}


class World:
    """A guard with a day behind it, whose clock the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        store = Store(f"sqlite:///{folder / 'guard.db'}", clock=lambda _: self.now, steady=None)
        store.create()
        self.scene: Scene = scene(store, read_keys(folder / "keys"), folder)

    def client(self, who: str = "", scene: Scene | None = None, at: str = "http://127.0.0.1") -> TestClient:
        made = TestClient(console_app(scene or self.scene), base_url=at, follow_redirects=False)
        if who:
            assert made.post("/login", data={"key": key_of_operator(who)}).status_code == 303
        return made

    def token(self, client: TestClient) -> str:
        page = client.get("/alerts").text
        return page.partition('name="token" value="')[2].partition('"')[0]

    def count(self, *where: object) -> int:
        with self.scene.store.read() as tx:
            return int(tx.run(select(func.count()).where(*where)).scalar_one())  # type: ignore[arg-type]

    def acts(self) -> list[str]:
        with self.scene.store.read() as tx:
            return list(tx.run(select(records.c.body).where(records.c.kind == "operator").order_by(records.c.seq)).scalars())


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a guard; each test has a copy."""
    folder = tmp_path_factory.mktemp("day")
    make_keys(folder / "keys")
    made = World(folder)
    seed(made.scene, decisions=60)
    made.scene.store.close()
    return folder


@pytest.fixture
def world(day: Path, tmp_path: Path) -> World:
    shutil.copytree(day, tmp_path / "guard")
    return World(tmp_path / "guard")


def routes(method: str) -> list[str]:
    found = [route for router in (door, views, acts) for route in router.routes if isinstance(route, APIRoute)]
    return sorted(r.path.replace("{number}", "1") for r in found if method in r.methods)


GETS, POSTS = routes("GET"), routes("POST")


def test_the_routes_are_found() -> None:
    assert len(GETS) >= 13 and len(POSTS) >= 7


@pytest.mark.parametrize("path", [p for p in GETS if p not in OPEN_TO_ALL and p != "/metrics"])
def test_nobody_sees_a_page_who_is_not_logged_in(world: World, path: str) -> None:
    for cookie in ("", "x", "AAAA." + "0" * 64):
        answer = world.client().get(path, headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 303 and answer.headers["location"] == "/login" and answer.content == b""


@pytest.mark.parametrize("path", [p for p in POSTS if p != "/login"])
def test_nobody_acts_who_is_not_logged_in_or_whose_form_is_not_theirs(world: World, path: str) -> None:
    form = {"device": hashed("bad3"), "note": "x", "sure": "yes"}
    other = world.token(world.client("anna"))
    before = len(world.acts())
    assert world.client().post(path, data={**form, "token": other}).headers["location"] == "/login"
    client = world.client("anna")
    before += 1
    for token in ("", "0" * 64, other):
        answer = client.post(path, data={**form, "token": token})
        assert answer.status_code == 403 and "does not belong to this session" in answer.text
    mine = {**form, "token": world.token(client)}
    for site in ("cross-site", "same-site"):
        assert client.post(path, data=mine, headers={"Sec-Fetch-Site": site}).status_code == 403
    assert len(world.acts()) == before


def test_a_login_that_another_site_sends_is_refused(world: World) -> None:
    answer = world.client().post("/login", data={"key": key_of_operator("anna")}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and COOKIE not in answer.cookies


@pytest.mark.parametrize(
    "who, path, allowed",
    [
        ("vera", "/alerts/2/acknowledge", False),
        ("vera", "/quotas/release", False),
        ("vera", "/quotas/block", False),
        ("vera", "/models/roll-back", False),
        ("vera", "/ledger/verify", True),
        ("otto", "/alerts/2/acknowledge", True),
        ("otto", "/quotas/release", True),
        ("otto", "/quotas/block", True),
        ("otto", "/models/roll-back", False),
        ("anna", "/alerts/2/acknowledge", True),
        ("anna", "/models/roll-back", True),
    ],
)
def test_each_role_may_do_what_it_may(world: World, who: str, path: str, allowed: bool) -> None:
    client = world.client(who)
    before = world.acts()
    form = {"token": world.token(client), "device": hashed("bad3"), "note": "looked", "sure": "yes"}
    answer = client.post(path, data=form)
    assert answer.status_code in ((200, 303) if allowed else (403,))
    if not allowed:
        assert "this takes the role" in answer.text and world.acts() == before


def test_what_is_done_is_in_the_ledger_with_who_did_it(world: World) -> None:
    client = world.client("otto")
    token = world.token(client)
    held = locks.c.released.is_(None), locks.c.device == hashed("bad3")
    assert world.count(*held) == 2 and world.count(OPEN) == 3
    client.post("/quotas/release", data={"token": token, "device": hashed("bad3")})
    client.post("/alerts/2/acknowledge", data={"token": token, "note": "a \U0001f600 <b>"})
    client.post("/quotas/block", data={"token": token, "device": hashed("bad9"), "note": "a mule"})
    assert world.count(*held) == 0 and world.count(OPEN) == 2
    assert world.acts()[-3:] == [
        '{"act":"release","device":"' + hashed("bad3") + '","locks":2,"operator":"otto"}',
        '{"act":"acknowledge","alert":2,"note":"a \\ud83d\\ude00 <b>","operator":"otto"}',
        '{"act":"block","device":"' + hashed("bad9") + '","note":"a mule","operator":"otto"}',
    ]
    client.post("/logout", data={"token": token})
    assert world.acts()[-1] == '{"act":"logout","operator":"otto"}'


def test_a_roll_back_wants_a_reason_and_a_second_yes(world: World) -> None:
    client = world.client("anna")
    token = world.token(client)
    for form in ({"note": "slow"}, {"note": " ", "sure": "yes"}, {"note": "slow", "sure": "no"}):
        assert client.post("/models/roll-back", data={"token": token, **form}).status_code == 403
    assert world.count(ensembles.c.state == "canary") == 1
    assert client.post("/models/roll-back", data={"token": token, "note": "slow", "sure": "yes"}).status_code == 303
    assert world.count(ensembles.c.state == "canary") == 0 and world.count(ensembles.c.state == "live") == 1
    with world.scene.store.read() as tx:
        assert "slow" in tx.run(select(records.c.body).where(records.c.kind == "rotation").order_by(records.c.seq.desc())).scalars().first()


@pytest.mark.parametrize("device", ["", "../x", "g" * 32, "A" * 32, "0" * 33])
def test_what_is_no_device_is_not_released(world: World, device: str) -> None:
    client = world.client("otto")
    before = world.acts()
    assert client.post("/quotas/release", data={"token": world.token(client), "device": device}).status_code == 400
    assert world.acts() == before


def test_a_session_ends_when_nobody_clicks_and_in_any_case(world: World) -> None:
    client = world.client("vera")
    for _ in range(23):
        world.now += 1790
        assert client.get("/").status_code == 200
    world.now += 1790
    assert client.get("/").status_code == 200
    world.now += 1790  # twelve hours after it was opened
    assert client.get("/").status_code == 303
    client = world.client("vera")
    world.now += 1801
    assert client.get("/").status_code == 303


def test_a_page_that_refreshes_itself_keeps_nobody_logged_in(world: World) -> None:
    client = world.client("vera")
    for _ in range(17):
        world.now += 100
        assert client.get("/", headers={"HX-Request": "true"}).status_code == 200
    world.now += 150
    answer = client.get("/", headers={"HX-Request": "true"})
    assert answer.status_code == 204 and answer.headers["hx-redirect"] == "/login"


def test_who_logged_out_is_out_wherever_the_cookie_is(world: World) -> None:
    client = world.client("vera")
    cookie = client.cookies[COOKIE]
    client.post("/logout", data={"token": world.token(client)})
    assert COOKIE not in client.cookies
    assert world.client().get("/", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 303


def test_what_the_configuration_says_now_counts(world: World) -> None:
    anna = world.client("anna").cookies[COOKIE]
    config = world.scene.config
    gone = replace(world.scene, config=config.model_copy(update={"operator": config.operator[:2]}))
    assert world.client(scene=gone).get("/", headers={"Cookie": f"{COOKIE}={anna}"}).status_code == 303
    lower = tuple(o.model_copy(update={"role": "viewer"}) for o in config.operator)
    page = world.client(scene=replace(world.scene, config=config.model_copy(update={"operator": lower}))).get(
        "/", headers={"Cookie": f"{COOKIE}={anna}"}
    )
    assert "<i>viewer</i>" in page.text
    rekeyed = tuple(o.model_copy(update={"key_sha256": "0" * 64}) for o in config.operator)
    changed = replace(world.scene, config=config.model_copy(update={"operator": rekeyed}))
    assert world.client(scene=changed).get("/", headers={"Cookie": f"{COOKIE}={anna}"}).status_code == 303


def test_a_cookie_of_another_guard_is_nobodys(world: World, tmp_path: Path) -> None:
    other = replace(world.scene, keys=make_keys(tmp_path / "other"))
    cookie = world.client("anna", scene=other).cookies[COOKIE]
    assert world.client().get("/", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 303


def test_the_cookie_is_the_browsers_alone(world: World) -> None:
    for at, secure in (
        ("http://127.0.0.1", False),
        ("http://localhost:8081", False),
        ("https://guard.bank", True),
        ("http://guard.bank", True),
    ):
        told = world.client(at=at).post("/login", data={"key": key_of_operator("anna")}).headers["set-cookie"].lower()
        assert "httponly" in told and "samesite=strict" in told and "path=/" in told and ("secure" in told) is secure
    with world.scene.store.read() as tx:
        stored = str(tx.run(select(visits)).all())
    assert told.partition("=")[2].partition(".")[0] not in stored.lower()


def test_wrong_keys_are_slowed_down_and_alerted_of(world: World) -> None:
    client = world.client()
    for _ in range(FAILURES):
        assert client.post("/login", data={"key": "wrong"}).status_code == 401
    answer = client.post("/login", data={"key": key_of_operator("anna")})
    assert answer.status_code == 429 and COOKIE not in answer.cookies
    assert world.count(OPEN, alerts.c.monitor == "console-login") == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_a_cookie_opens_a_page(world: World, data: st.DataObject) -> None:
    if not hasattr(world, "held"):
        world.held = world.client("vera")  # type: ignore[attr-defined]
    cookie = world.held.cookies[COOKIE]  # type: ignore[attr-defined]
    place = data.draw(st.integers(0, len(cookie) - 1))
    letter = data.draw(st.sampled_from("ABCabc0123456789-_.="))
    changed = cookie[:place] + letter + cookie[place + 1 :]
    drawn, _, code = changed.partition(".")
    try:
        same = base64.urlsafe_b64decode(drawn + "=") == base64.urlsafe_b64decode(cookie.partition(".")[0] + "=")
    except ValueError:
        same = False
    if same and code == cookie.partition(".")[2]:
        return  # another way to write the same bytes
    asker = TestClient(world.held.app, base_url="http://127.0.0.1", follow_redirects=False)  # type: ignore[attr-defined]
    assert asker.get("/", headers={"Cookie": f"{COOKIE}={changed}"}).status_code == 303


def test_metrics_want_a_key_and_probes_tell_nothing(world: World) -> None:
    client = world.client()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {key_of_operator('vera')}"}):
        assert client.get("/metrics", headers=headers).status_code == 401
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {key_of_operator('vera')}"})
    assert answer.status_code == 200 and "vauban_alerts_open" in answer.text and answer.headers["content-type"].startswith("text/plain")
    assert (client.get("/healthz").text, client.get("/readyz").text) == ("ok\n", "ready\n")


def test_without_a_database_it_is_alive_not_ready_and_says_so(world: World, tmp_path: Path) -> None:
    gone = replace(world.scene, store=Store(f"sqlite:///{tmp_path / 'no' / 'such.db'}"))
    client = world.client(scene=gone)
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready\n")
    cookie = world.client("vera").cookies[COOKIE]
    answer = client.get("/", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert answer.status_code == 503 and "The database does not answer" in answer.text


def test_a_guard_without_a_live_ensemble_is_not_ready(world: World) -> None:
    with world.scene.store.write() as tx:
        tx.run(ensembles.update().values(state="retired"))
    assert world.client().get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "path", ["/login", "/", "/nothing", "/static/console.css", "/static/../app.py", "/healthz", "/metrics", "/alerts/x"]
)
def test_every_answer_is_shielded(world: World, path: str) -> None:
    answer = world.client().get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "script-src 'self'" in answer.headers["content-security-policy"] and "unsafe" not in answer.headers["content-security-policy"]


def test_a_body_that_no_form_has_is_not_read(world: World) -> None:
    client = world.client()
    assert client.post("/login", data={"key": "x" * 20_000}).status_code == 413

    def endless() -> object:
        yield b"key="
        yield b"x" * 100

    answer = client.post("/login", content=endless(), headers={"Content-Type": "application/x-www-form-urlencoded"})  # type: ignore[arg-type]
    assert answer.status_code == 413 and answer.headers["x-frame-options"] == "DENY"
