"""The console in a real browser: nothing is blocked, nothing comes from elsewhere, the buttons do what they say, in the light and in the dark."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from console_worlds import WEBHOOK, Scene, calibration, hashed, key_of_operator, scene, seed, served
from PIL import Image
from sqlalchemy import select, update

from vauban.guard.alerts.tables import OPEN, alerts
from vauban.guard.keys import make_keys
from vauban.guard.ledger.chain import records
from vauban.guard.limits.tables import attempts, locks
from vauban.guard.storage import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATHS = (
    "/",
    "/scores",
    "/evidence",
    "/clusters",
    "/clusters/1",
    "/quotas",
    f"/quotas/device?key={hashed('bad3')}",
    "/models",
    "/alerts",
    "/ledger",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    sync_playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright").sync_playwright
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--headless=new", "--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, str]]:
    folder = tmp_path_factory.mktemp("browser")
    store = Store(f"sqlite:///{folder / 'guard.db'}", patience=5)
    store.create()
    made = scene(store, make_keys(folder / "keys"), folder, calibration(), webhook=[WEBHOOK])
    seed(made, decisions=1200)
    with pytest.MonkeyPatch.context() as patch, served(made) as url:
        patch.setattr("vauban.guard.console.context.FRESH", 0.1)
        yield made, url


@pytest.fixture
def page(browser: Browser, guard: tuple[Scene, str]) -> Iterator[Page]:
    yield from opened(browser, guard[1])


def opened(browser: Browser, url: str, who: str = "anna", **options: Any) -> Iterator[Page]:
    """A page on which somebody is logged in; whatever the browser complains of fails the test."""
    context = browser.new_context(base_url=url, **options)
    made = context.new_page()
    wrong: list[str] = []
    made.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    made.on("pageerror", lambda e: wrong.append(str(e)))
    made.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(url) else None)
    made.goto("/login")
    made.fill("#key", key_of_operator(who))
    made.click("text=Log in")
    made.wait_for_selector("nav")
    made.wait_for_load_state()  # its style sheets too
    yield made
    assert wrong == []
    context.close()


def shot(page: Page, path: Path) -> Image.Image:
    page.screenshot(path=path, full_page=True)
    return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_drawn_and_fits(browser: Browser, guard: tuple[Scene, str], tmp_path: Path, scheme: str) -> None:
    for page in opened(browser, guard[1], color_scheme=scheme, viewport={"width": 1280, "height": 860}):
        for path in PATHS:
            page.set_viewport_size({"width": 1280, "height": 860})
            page.goto(path)
            assert page.locator("nav a[aria-current]").count() == 1, path
            drawn = shot(page, tmp_path / f"{scheme}-{path.strip('/').replace('/', '-').partition('?')[0] or 'now'}.png")
            corner = drawn.getpixel((drawn.width - 3, drawn.height - 3))
            assert (sum(corner) > 600) == (scheme == "light"), (path, corner)  # type: ignore[arg-type]
            assert len(drawn.getcolors(1 << 24) or []) > 30, path
            for width in (1280, 900, 390) if scheme == "light" else ():
                page.set_viewport_size({"width": width, "height": 860})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_text_can_be_read_in_the_light_and_in_the_dark(browser: Browser, guard: tuple[Scene, str]) -> None:
    """WCAG AA: 4.5 to 1 for every colour that text has, on every ground it has."""
    for scheme in ("light", "dark"):
        for page in opened(browser, guard[1], color_scheme=scheme):
            read = "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim()"
            colour = {n: page.evaluate(read, f"--{n}") for n in ("paper", "wash", "ink", "muted", "blue", "good", "poor", "bad", "faint")}
            washes = {n: page.evaluate(read, f"--{n}-wash") for n in ("good", "poor", "bad")}
            pairs = [(colour[n], colour["paper"]) for n in ("ink", "muted", "blue", "good", "poor", "bad")]
            pairs += [(colour[n], washes[n]) for n in washes] + [(colour["paper"], colour["blue"]), (colour["paper"], colour["bad"])]
            pairs += [(colour["ink"], colour["faint"]), (colour["muted"], colour["wash"])] + [(colour["ink"], w) for w in washes.values()]
            assert min(contrast(a, b) for a, b in pairs) >= 4.5, sorted((contrast(a, b), a, b) for a, b in pairs)[0]


def contrast(one: str, two: str) -> float:
    a, b = sorted((luminance(one), luminance(two)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_first_page_refreshes_itself(browser: Browser, guard: tuple[Scene, str]) -> None:
    store = guard[0].store
    context = browser.new_context(base_url=guard[1])
    page = context.new_page()
    page.clock.install()
    page.goto("/login")
    page.fill("#key", key_of_operator("vera"))
    page.click("text=Log in")
    page.wait_for_selector("#live")
    page.evaluate("document.querySelector('h1').dataset.old = '1'; document.body.dataset.kept = '1'")
    with store.write() as tx:
        row = tx.run(select(attempts).order_by(attempts.c.id)).mappings().first()
        told = {k: v for k, v in dict(row or {}).items() if k != "id"}
        for i in range(7):
            tx.run(
                attempts.insert().values(
                    **{**told, "nonce": f"late{i}", "at": tx.now(), "decided_at": tx.now(), "accept": True, "state": "decided"}
                )
            )
    before = page.inner_text(".tiles")
    time.sleep(0.2)
    page.clock.fast_forward(10_500)
    page.wait_for_selector("h1:not([data-old])")
    assert page.inner_text(".tiles") != before and page.evaluate("document.body.dataset.kept") == "1"
    context.close()


def test_a_device_is_released_by_a_click(page: Page, guard: tuple[Scene, str]) -> None:
    page.goto("/quotas")
    row = page.locator("tr", has_text="blocked").first
    row.get_by_role("button", name="Release").click()
    page.wait_for_url("**/quotas/device?key=*")
    assert page.locator(".state", has_text="held").count() == 0 and "by anna" in page.content()
    with guard[0].store.read() as tx:
        found = tx.run(select(locks.c.released_by).where(locks.c.device == hashed("bad3"))).scalars().all()
    assert set(found) == {"anna"}


def test_an_alert_is_acknowledged_with_a_note(page: Page, guard: tuple[Scene, str]) -> None:
    page.goto("/alerts")
    waiting = int(page.inner_text("nav .count"))
    article = page.locator("article", has_text="rotation:autumn")
    article.get_by_placeholder("what was found").fill("winter is on its way")
    article.get_by_role("button", name="Acknowledge").click()
    page.wait_for_selector("text=winter is on its way")
    assert page.locator("article", has_text="rotation:autumn").count() == 0 and int(page.inner_text("nav .count")) == waiting - 1
    with guard[0].store.read() as tx:
        assert tx.run(select(alerts.c.closed_by).where(alerts.c.monitor == "rotation:autumn", ~OPEN)).scalar_one() == "anna"


def test_the_ledger_is_read_through_without_leaving_the_page(page: Page, guard: tuple[Scene, str]) -> None:
    page.goto("/ledger")
    page.evaluate("document.body.dataset.kept = '1'")
    page.get_by_role("button", name="Verify").click()
    page.wait_for_selector("#verified >> text=The ledger holds.")
    with guard[0].store.write() as tx:
        old = tx.run(select(records.c.body).where(records.c.seq == 21)).scalar_one()
        tx.run(update(records).where(records.c.seq == 21).values(body=old.replace("true", "false")))
    page.get_by_role("button", name="Verify").click()
    page.wait_for_selector("#verified >> text=row 21 was changed")
    assert page.evaluate("document.body.dataset.kept") == "1"
    with guard[0].store.write() as tx:
        tx.run(update(records).where(records.c.seq == 21).values(body=old))


def test_a_roll_back_is_not_sent_without_a_reason(page: Page) -> None:
    page.goto("/models")
    page.get_by_role("button", name="Roll back").click()
    assert page.url.endswith("/models") and page.locator("text=canary 10 %").count() >= 1
    page.get_by_placeholder("why").fill("winter rejects too many")
    page.get_by_label("now").check()
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_selector("text=rolled back. winter rejects too many")


def test_who_logs_out_is_out(page: Page) -> None:
    cookies = page.context.cookies()
    assert [(c["httpOnly"], c["sameSite"]) for c in cookies] == [(True, "Strict")] and page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/ledger")
    assert page.url.endswith("/login")
    kept = page.evaluate("[...Object.keys(localStorage), ...Object.entries(sessionStorage).flat()]")
    assert kept in (
        [],
        ["htmx-current-path-for-history", "/ledger"],
        ["htmx-current-path-for-history", "/"],
    )  # a path, and nothing that stood on it
