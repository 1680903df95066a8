"""The console's pages: they say what the database says, on an empty guard and on a busy one, and nothing in them is run."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import whole_guards
from console_worlds import MODELS, WEBHOOK, Scene, calibration, hashed, key_of_operator, scene, seed
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from sqlalchemy import func, literal, select, update
from whole_guards import home, image

from vauban.guard.alerts import alert
from vauban.guard.alerts.tables import deliveries
from vauban.guard.client import Device
from vauban.guard.console import charts, console_app
from vauban.guard.console.context import Desk
from vauban.guard.console.readings.now import SLOT, Slot, now_of
from vauban.guard.console.readings.scores import LEAST, scores_of
from vauban.guard.console.readings.shares import Share, slot
from vauban.guard.console.svg import tag, ticks
from vauban.guard.keys import Keys, make_keys
from vauban.guard.ledger.chain import records
from vauban.guard.limits.tables import attempts, locks
from vauban.guard.rotation.tables import ensembles, moves
from vauban.guard.storage import Store
from vauban.guard.watch.tables import monitors
from vauban.measure.intervals import wilson

PAGES = (
    "/",
    "/scores",
    "/scores?days=8",
    "/evidence",
    "/clusters",
    "/clusters/1",
    "/quotas",
    "/models",
    "/alerts",
    "/ledger",
    "/ledger?upto=5",
)
DEVICE = f"/quotas/device?key={hashed('bad3')}"


def client_of(scene: Scene, who: str = "anna") -> TestClient:
    made = TestClient(console_app(scene), base_url="http://127.0.0.1")
    assert made.post("/login", data={"key": key_of_operator(who)}).status_code == 200
    return made


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A guard with a day behind it, which tests only look at."""
    folder = tmp_path_factory.mktemp("busy")
    store = Store(f"sqlite:///{folder / 'guard.db'}")
    store.create()
    made = scene(store, make_keys(folder / "keys"), folder, calibration(), webhook=[WEBHOOK])
    seed(made, decisions=1500)
    yield made
    store.close()


@pytest.fixture
def mine(sqlite_url: str, keys: Keys, tmp_path: Path) -> Scene:
    """Such a guard that a test may change."""
    store = Store(sqlite_url)
    store.create()
    made = scene(store, keys, tmp_path, webhook=[WEBHOOK])
    seed(made, decisions=40)
    return made


class Elements(HTMLParser):
    """Every element of a page with its attributes, and what stands in scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_page_stands_on_a_guard_that_has_seen_nothing(store: Store, keys: Keys, tmp_path: Path) -> None:
    client = client_of(scene(store, keys, tmp_path))
    for path in (p for p in PAGES if p != "/clusters/1"):
        assert client.get(path).status_code == 200, path
    assert client.get("/clusters/1").status_code == 404 and client.get("/nothing").status_code == 404
    assert "not ready" in client.get("/").text and "No ensemble is live" in client.get("/models").text


def test_every_page_stands_on_a_busy_guard(store: Store, keys: Keys, tmp_path: Path) -> None:
    made = scene(store, keys, tmp_path, calibration())
    seed(made, decisions=120)
    for who in ("vera", "anna"):
        client = client_of(made, who)
        for path in (*PAGES, DEVICE):
            page = client.get(path)
            assert page.status_code == 200, path
            assert ("<button" in page.text.partition("<main")[2]) >= (who == "anna" and path in ("/alerts", "/models", DEVICE)), path
        assert "Verify all" in client.get("/ledger").text


def test_the_console_of_a_whole_guard_shows_what_it_decided(tmp_path: Path) -> None:
    at = home(tmp_path)
    with whole_guards.served(at) as (guard, bank):
        device = Device()
        assert bank.attempt(bank.open(device), device, image(0.8)).status_code == 202
        client = TestClient(console_app(guard), base_url="http://127.0.0.1")
        assert client.post("/login", data={"key": at.operator}).status_code == 200
        for path in (p for p in PAGES if not p.startswith("/clusters/")):
            assert client.get(path).status_code == 200, path
        first = client.get("/").text
        assert "ready to decide" in first and "1 decision" in first
        metrics = client.get("/metrics", headers={"Authorization": f"Bearer {at.operator}"}).text
        assert 'vauban_attempts_total{decision="accept"} 1.0' in metrics


def test_viewers_are_offered_no_act(busy: Scene) -> None:
    client = client_of(busy, "vera")
    for path, act in (("/alerts", "acknowledge"), ("/quotas", "/quotas/release"), (DEVICE, "/quotas/release"), ("/models", "roll-back")):
        assert f'{act}"' not in client.get(path).text and f'{act}"' in client_of(busy).get(path).text


def test_nothing_in_a_page_is_run_or_comes_from_elsewhere(busy: Scene) -> None:
    client = client_of(busy)
    for path in (*PAGES, DEVICE, "/login"):
        for name, attributes in Elements(client.get(path).text).found:
            assert name != "style" and (name != "script" or attributes.get("src") == "/static/htmx.min.js"), path
            assert not any(a == "style" or a.startswith(("on", "hx-on")) for a in attributes), (path, name, attributes)
            for a in ("src", "href", "action", "hx-get", "hx-post"):
                assert (attributes.get(a) or "/").startswith(("/", "#")), (path, name, attributes)


HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\x1b[31m\u202e=cmd()"


def test_whatever_a_stranger_wrote_is_shown_and_never_run(mine: Scene) -> None:
    short = HOSTILE[:40]
    with mine.store.write() as tx:
        tx.run(update(locks).values(reason=HOSTILE, by=short))
        tx.run(update(moves).values(why=HOSTILE, by=short))
        tx.run(update(ensembles).where(ensembles.c.state == "retired").values(name=HOSTILE[:60], families=json.dumps([HOSTILE])))
        tx.run(update(attempts).where(attempts.c.id == 3).values(flags=json.dumps([HOSTILE]), device=hashed("bad3")))
        tx.run(update(attempts).where(attempts.c.id == 4).values(party=HOSTILE[:60]))
        tx.run(update(monitors).where(monitors.c.name == f"histogram:{MODELS[0]}").values(name=f"histogram:{HOSTILE[:60]}"))
        state = {"trace": [[1.0, 2.0], [2.0, 3.0]], "seen": 5, "sum": 1, "alarms": 0, "detector": {}}
        tx.run(monitors.insert().values(name=f"close:{HOSTILE}"[:100], version=1, at=1.0, log_e=3.0, state=json.dumps(state)))
        alert(tx, HOSTILE[:100], "warning", {HOSTILE: HOSTILE, "list": [HOSTILE]})
        mine.ledger.append(tx, "operator", {"note": HOSTILE})
        replace(mine.ledger, node=HOSTILE[:60]).append(tx, HOSTILE[:40], {HOSTILE: HOSTILE})
        tx.run(deliveries.insert().values(outbox=1, webhook="0" * 16, tries=1, next=1.0, error=HOSTILE))
    client = client_of(mine)
    seen = 0
    for path in (*PAGES, DEVICE, "/ledger?chain=" + HOSTILE[:60]):
        page = client.get(path).text
        seen += "&lt;script&gt;alert(1)" in page
        for name, attributes in Elements(page).found:
            assert name not in ("img", "script") or str(attributes["src"]).startswith("/static/"), path
            assert not any(a.startswith("on") for a in attributes), path
        assert "49" not in re.findall(r"img src=x onerror=alert\(1\)&gt;(\d*)", page)
    assert seen >= 6


def test_the_first_page_counts_what_was_decided(busy: Scene) -> None:
    now = now_of(busy.store, busy.config)
    with busy.store.read() as tx:
        rows = tx.run(select(attempts)).all()
    decided = [r for r in rows if r.accept is not None]
    for s in now.slots:
        inside = [r for r in decided if s.at <= r.decided_at < s.at + SLOT]
        assert (s.accepted, s.rejected) == (sum(r.accept for r in inside), sum(not r.accept for r in inside))
    assert now.day == Share(sum(s.accepted for s in now.slots), sum(s.accepted + s.rejected for s in now.slots))
    last = [r for r in decided if r.decided_at > now.at - 3600]
    assert now.hour == Share(sum(r.accept for r in last), len(last)) and now.undecided == 1
    times = sorted(r.seconds for r in last)
    assert now.middle == times[len(times) // 2] and now.slow == times[int(0.95 * len(times))]
    kinds = [f for r in decided for f in json.loads(r.flags)]
    assert dict(now.flags) == {k: kinds.count(k) for k in set(kinds)}
    page = client_of(busy).get("/").text
    low, high = wilson(now.hour.hits, now.hour.rows)
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in page


def test_a_time_falls_into_its_slot_on_both_databases(store: Store) -> None:
    with store.read() as tx:
        for seconds in (0.0, 0.4, 449.9, 450.0, 899.999, 900.0, 1349.0, 1350.1, 86399.0):
            assert tx.run(select(slot(tx, literal(1000.0 + seconds), 1000.0, 900.0))).scalar_one() == math.floor(seconds / 900)


def test_a_bin_with_few_scores_tells_only_that_there_are_few(busy: Scene) -> None:
    for model in scores_of(busy.store, busy.watch.calibration, 8):
        with busy.store.read() as tx:
            told = json.loads(tx.run(select(monitors.c.state).where(monitors.c.name == f"histogram:{model.model}")).scalar_one())
        counts = [sum(c) for c in zip(*told.values(), strict=True)]
        assert model.rows == sum(counts) and model.drift is not None
        hidden = 0
        for b in model.bins:
            here = sum(counts[b.low + 127 : b.low + 127 + 8])
            hidden += b.share is None
            assert b.share == (None if 0 < here < LEAST else here / model.rows)
        assert 0 < hidden < len(model.bins)
        few = re.findall(r'<rect[^>]*height="([\d.]+)" class="few"', charts.histogram(model))
        assert len(few) == hidden and len(set(few)) == 1


def test_no_page_tells_the_scores_of_an_attempt(busy: Scene) -> None:
    client = client_of(busy)
    with busy.store.read() as tx:
        assert "scores" in tx.run(select(records.c.body).where(records.c.kind == "decision")).scalars().first()
    for path in (*PAGES, DEVICE):
        page = client.get(path).text
        assert "&#34;scores&#34;" not in page and "&#34;votes&#34;" not in page


def test_the_ledger_is_verified_on_its_page(mine: Scene) -> None:
    client = client_of(mine)
    token = client.get("/ledger").text.partition('name="token" value="')[2].partition('"')[0]
    assert "The ledger holds." in client.post("/ledger/verify", data={"token": token}).text
    with mine.store.write() as tx:
        tx.run(update(records).where(records.c.seq == 9).values(body="{}"))
    part = client.post("/ledger/verify", data={"token": token}, headers={"HX-Request": "true"}).text
    assert part.startswith('<div id="verified"') and "row 9 was changed" in part and "<html" not in part


def test_a_device_is_found_by_the_beginning_of_its_hash(busy: Scene) -> None:
    client, whole = client_of(busy), hashed("bad3")
    assert whole in client.get(f"/quotas/device?key={whole[:8].upper()}").text
    for key in (whole[:7], "zzzzzzzz", "0" * 8, "%25" * 8):
        assert client.get(f"/quotas/device?key={key}").status_code == 404


def test_what_everybody_looks_at_is_read_once(busy: Scene) -> None:
    desk, read = Desk.of(busy), []
    for _ in range(5):
        desk.recent("now", lambda: read.append(1))
    assert len(read) == 1
    desk.forget()
    desk.recent("now", lambda: read.append(1))
    desk.recent("now", lambda: read.append(1), fresh=0.0)
    assert len(read) == 3


def test_a_name_in_a_drawing_is_text() -> None:
    drawn = tag("text", "<script>", title='"><script>')
    assert isinstance(drawn, Markup) and "<script>" not in drawn and drawn.count("<") == 2


@settings(deadline=None)
@given(st.floats(1e-3, 1e7), st.integers(2, 8))
def test_ticks_are_few_even_and_reach_the_top(high: float, most: int) -> None:
    found = ticks(high, most)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(found)}
    assert found[0] == 0 and found[-1] >= high * (1 - 1e-6) and len(found) <= most + 2
    assert max(steps) - min(steps) < 1e-6 * high


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=48, max_size=48))
def test_charts_stand_whatever_the_counts(counts: list[tuple[int, int]]) -> None:
    slots = [Slot(1e9 + SLOT * i, a, r) for i, (a, r) in enumerate(counts)]
    for drawn in (charts.decisions(slots), charts.rates(slots)):
        assert "nan" not in drawn and "inf" not in drawn.replace("information", "")
        for y in re.findall(r' (?:y|y1|y2|cy)="(-?[\d.]+)"', drawn):
            assert -0.01 <= float(y) <= 190.01


def test_no_chain_is_counted_row_by_row(busy: Scene) -> None:
    """The pages stay fast on a ledger of years: they ask for heads and for few rows."""
    with busy.store.read() as tx:
        plans = [
            str(tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
            for query in (
                "SELECT max(at) FROM ledger WHERE kind <> 'decision' AND kind = 'checkpoint'",
                "SELECT * FROM ledger WHERE node = 'a' AND seq <= 50 ORDER BY seq DESC LIMIT 50",
                "SELECT min(node) FROM ledger WHERE node > 'a'",
            )
        ]
        assert tx.run(select(func.count()).select_from(records)).scalar_one() > 60
    assert all("SEARCH" in plan and "SCAN" not in plan for plan in plans), plans
