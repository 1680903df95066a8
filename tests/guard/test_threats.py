"""The page on threats: every test that it names exists; and the threats that no part has tests for: time, logs, and what is left on disk."""

from __future__ import annotations

import ast
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from whole_guards import FAST, home, image, served

from vauban.guard.client import Client, Device
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES
from vauban.guard.server.slots import Slots
from vauban.guard.service import Guard

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guard" / "threats.md"
DIRECT = FAST.replace("0.05s", "0.2s") + '[session]\nmode = "direct"\n[limits]\nnetwork = { count = 1000, window = "1h" }\n'
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def defined_in(file: Path) -> set[str]:
    """The names of the tests in a file."""
    return {node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


def rows() -> dict[int, str]:
    """The rows of the page's table, by their number."""
    return {int(found[1]): found[0] for found in re.finditer(r"(?m)^\| (\d+) \|.*$", PAGE.read_text(encoding="utf-8"))}


# ---- the page -----------------------------------------------------------------------------------------------------------------------


def test_every_test_that_the_page_names_exists() -> None:
    named = set(NAMED.findall(PAGE.read_text(encoding="utf-8")))
    assert len(named) > 40
    missing = sorted(f"{file}::{test}" for file, test in named if test not in defined_in(Path(__file__).parent / file))
    assert not missing, missing


def test_every_threat_has_a_test_or_a_sentence_why_not() -> None:
    found = rows()
    assert sorted(found) == list(range(1, 21))
    for number, row in found.items():
        assert NAMED.search(row) or "No test" in row, f"threat {number}"


# ---- 9: time ------------------------------------------------------------------------------------------------------------------------


def answered(client: Client, body: bytes) -> tuple[bytes, float]:
    """What a new device is told of an image, and after how many seconds."""
    device = Device()
    answer = client.attempt(client.open(device), device, body)
    return answer.content, answer.elapsed.total_seconds()


def told_apart(client: Client, rounds: int) -> dict[str, float]:
    """For each kind of reject the p-value of its times against those of accepted attempts."""
    known = image(0.8)
    answered(client, known)
    times: dict[str, list[float]] = {"accept": [], "reject": [], "replay": []}
    for _ in range(rounds):  # in turn, so that whatever else the machine does falls on all of them
        for kind, body in (("accept", image(0.8)), ("reject", image(0.2)), ("replay", known)):
            said, seconds = answered(client, body)
            assert said == (b'{"decision":"accept"}' if kind == "accept" else b'{"decision":"reject"}')
            times[kind].append(seconds)
    return {kind: float(mannwhitneyu(times["accept"], times[kind]).pvalue) for kind in ("reject", "replay")}


def test_the_time_of_an_answer_does_not_tell_a_reject_from_an_accept_or_a_flag(tmp_path: Path) -> None:
    with served(home(tmp_path, DIRECT)) as (_, client):
        found = told_apart(client, 12)
    assert min(found.values()) > 1e-4, f"rejects are told from accepts by their time: {found}"


def test_without_slots_and_with_an_early_end_the_time_would_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: object) -> None:
        pass

    def slow(guard: Guard, *given: object) -> bool:
        accept = decided(guard, *given)  # type: ignore[arg-type]
        time.sleep(0.05 if accept else 0)
        return accept

    decided = Guard._decided
    monkeypatch.setattr(Slots, "wait", at_once)
    monkeypatch.setattr(Guard, "_decided", slow)
    with served(home(tmp_path, DIRECT)) as (_, client):
        assert max(told_apart(client, 12).values()) < 1e-4


# ---- 13: logs -----------------------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n\0"), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with served(home(tmp_path_factory.mktemp("guard"), FAST.replace("0.05s", "0.001s"))) as found:
        yield found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from(["Content-Type", "X-Forwarded-For", "X-Vauban-Nonce", "X-Vauban-Signature", "Authorization", "User-Agent"]),
    word=WORDS,
)
def test_nothing_that_a_stranger_writes_is_in_a_log(logged, caplog: pytest.LogCaptureFixture, where: str, word: str) -> None:  # type: ignore[no-untyped-def]
    _, client = logged
    told = f"zq{word}qz\x1b[31m"
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "vauban"):
        device = Device()
        headers: dict[str, str | bytes] = dict(device.headers(client.open(device), image()))
        with suppress(httpx.TransportError):  # no header that HTTP knows: the connection is closed
            client.http.post(client.url + "/v1/attempts", content=image(), headers=headers | {where: told.encode("latin-1")})
    said = [record.getMessage() for record in caplog.records if record.name.startswith("vauban")]
    assert not [line for line in said if "zq" in line or any(not c.isprintable() for c in line)]


# ---- 17: what is left ---------------------------------------------------------------------------------------------------------------


def held(folder: Path) -> dict[Path, bytes]:
    """All files under a folder that can be read."""
    found: dict[Path, bytes] = {}
    for path in folder.rglob("*"):
        if path.is_file() and os.access(path, os.R_OK):
            found[path] = path.read_bytes()
    return found


def test_no_picture_token_or_name_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with served(home(tmp_path / "guard")) as (_, client):
        device, body = Device(), image(0.8, "JPEG")
        session = client.open(device, "account-of-a-customer")
        assert client.attempt(session, device, body).status_code == 202
        assert client.attempt(session, device, b"\xff\xd8" + body[2:-40]).status_code in {202, 422}
        files = held(tmp_path)
    assert not held(temporary)
    told = {
        "image": body[200:232],
        "token": session.token.encode(),
        "account": b"account-of-a-customer",
        "session": session.session_id.encode(),
    }
    left = [(what, str(path)) for what, word in told.items() for path, content in files.items() if word in content]
    assert not left, left
    assert any(b"SQLite format 3" in content for content in files.values()), "the database was looked at"


def test_what_went_wrong_is_never_told_to_the_asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(home(tmp_path)) as (guard, client):
        device = Device()
        session = client.open(device)

        def broken(*_: object) -> None:
            raise ValueError("postgresql://guard:secret@db/guard")

        with monkeypatch.context() as patched:
            patched.setattr(type(guard.watch), "look", broken)
            answer = client.attempt(session, device, image(0.8))
        assert (answer.status_code, answer.content) == (Code.UNAVAILABLE.status, BODIES[Code.UNAVAILABLE])
        assert client.result(session)["attempts_used"] == 1
