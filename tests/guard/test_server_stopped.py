"""A server that is stopped: at the first word what is being decided is decided, at the second everybody is told that nothing is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from whole_guards import FAST, home, image

from vauban.guard.client import Client, Device
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES


def started(file: Path, log: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "vauban.cli", "--json", "serve", str(file)]
    told = os.environ | {"TMPDIR": str(log.parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True, env=told)
    said = ""
    while not said.rstrip().endswith("}"):
        assert process.poll() is None and process.stdout is not None
        said += process.stdout.readline()
    return process, json.loads(said)["devices"]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_whoever_waits_is_told_in_the_words_of_the_list_and_the_log_is_quiet(tmp_path: Path, words: int) -> None:
    at = home(tmp_path / "guard", FAST.replace("0.05s", "4s"))
    process, url = started(at.file, tmp_path / "log")
    client, device = Client(url, at.key), Device()
    try:
        session = client.open(device)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.attempt, session, device, image())
            time.sleep(1.5)  # it is decided by then, and waits for the end of its slot
            for _ in range(words):
                process.send_signal(signal.SIGINT)
                time.sleep(0.3)
            answer = asked.result(20)
        assert process.wait(20) in (0, -signal.SIGINT, 130)
    finally:
        process.kill()
        client.http.close()
    if words == 1:
        assert (answer.status_code, answer.json()) == (202, {"status": "received"})
    else:
        assert (answer.status_code, answer.content) == (503, BODIES[Code.UNAVAILABLE])
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, word: signal.Signals) -> None:
    """Without it they would go on deciding, and nobody would count for the monitors or sign the ledger."""
    at = home(tmp_path / "guard", FAST.replace("port = 0", "port = 0\nworkers = 2", 1))
    process, url = started(at.file, tmp_path / "log")
    client, device = Client(url, at.key), Device()
    try:
        assert client.attempt(client.open(device), device, image()).status_code == 202
        process.send_signal(word)
        process.wait(20)
        end = time.monotonic() + 20
        while listened(url) and time.monotonic() < end:
            time.sleep(0.1)
        assert not listened(url), "nobody decides any more"
    finally:
        process.kill()
        client.http.close()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    if word == signal.SIGKILL:
        assert "the process that started this one is gone" in log
    else:
        assert not list(tmp_path.glob("vauban-metrics-*")), "nothing is left behind"


def listened(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True
