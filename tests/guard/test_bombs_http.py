"""Images that are meant to hurt, sent over HTTP: little memory, little time, and the same refusal whatever was wrong with them."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from whole_guards import FAST, home, image

from vauban.guard.client import Client, Device
from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES

MOST = 50 << 20
"""Bytes that one image may cost all processes of the guard together."""
TEXT = FAST + "[limits]\nnetwork = { count = 100000, window = 60 }\n"
DICE = np.random.default_rng(0)


def coded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(side: int = 24, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(DICE.integers(0, 256, (side, side, 3), dtype=np.uint8)).convert(mode)


def chunked(name: bytes, content: bytes) -> bytes:
    """A small PNG with one more chunk after its header."""
    body = coded(noise())
    return body[:33] + struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)) + body[33:]


def wide(width: int, height: int) -> bytes:
    """A JPEG that says it has another size."""
    body = coded(noise(), "JPEG")
    at = body.index(b"\xff\xc0") + 5
    return body[:at] + struct.pack(">HH", height, width) + body[at + 4 :]


def scans(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan stands there very often."""
    body = coded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * times + body[-2:]


def moving(kind: str, count: int = 3, side: int = 24) -> bytes:
    several = [noise(side) for _ in range(count)]
    return coded(several[0], kind, save_all=True, append_images=several[1:])


@cache
def bomb(side: int = 13_000) -> bytes:
    return coded(Image.new("1", (side, side)))


BOMBS: dict[str, Callable[[], bytes]] = {
    "png of 13,000 squared": bomb,
    "webp of 16,383 squared": lambda: bytes.fromhex("524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03"),
    "jpeg of 65,500 squared": lambda: wide(65_500, 65_500),
    "gif of 65,000 squared": lambda: coded(noise(), "GIF")[:6] + struct.pack("<HH", 65_000, 65_000) + coded(noise(), "GIF")[10:],
    "gif of many frames": lambda: moving("GIF", 20),
    "png of many frames": lambda: moving("PNG", 20),
    "webp of many frames": lambda: moving("WEBP", 20),
    "large webp of many frames": lambda: moving("WEBP", 4, 400),
    "half a png": lambda: coded(noise(200))[:-2_000],
    "half a jpeg": lambda: coded(noise(200), "JPEG")[:10_000],
    "half a webp": lambda: coded(noise(200), "WEBP")[:5_000],
    "only the first bytes": lambda: b"\x89PNG\r\n\x1a\n",
    "text that grows": lambda: chunked(b"zTXt", b"k\0\0" + zlib.compress(bytes(60 << 20), 9)),
    "colour profile that grows": lambda: chunked(b"iCCP", b"k\0\0" + zlib.compress(bytes(60 << 20), 9)),
}


def _data(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + b"IDAT" + content + struct.pack(">I", zlib.crc32(b"IDAT" + content))


LARGE: dict[str, Callable[[], bytes]] = {
    "jpeg with a megabyte of EXIF": lambda: _spread(0xE1, b"Exif\0\0" + bytes(60_000), 17),
    "jpeg with a megabyte of profiles": lambda: _spread(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(60_000), 17),
    "png with a megabyte of EXIF": lambda: chunked(b"eXIf", bytes(1_000_000)),
    "png of far more rows than it says": lambda: coded(noise())[:33] + _data(zlib.compress(bytes(60 << 20), 9)) + coded(noise())[-12:],
    "png with a megabyte of profile": lambda: chunked(b"iCCP", b"k\0\0" + zlib.compress(DICE.bytes(1_000_000))),
}
"""Fine pictures, however much is told beside them: taken or refused, and cheap."""


def _spread(marker: int, content: bytes, times: int) -> bytes:
    """A JPEG with the same segment many times."""
    body = coded(noise(), "JPEG")
    return body[:2] + (bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content) * times + body[2:]


@dataclass
class Running:
    """A guard in processes of its own."""

    process: subprocess.Popen[str]
    client: Client

    def pids(self) -> list[int]:
        """Of the server and of what decodes for it."""
        found, todo = list[int](), [self.process.pid]
        while todo:
            found.append(todo.pop())
            for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
                todo += [int(pid) for pid in task.read_text().split()]
        return found

    def resident(self) -> int:
        return sum(_told(pid, "VmRSS") for pid in self.pids())

    def peaks(self) -> int:
        """The most that each process had since `reset`, summed."""
        return sum(_told(pid, "VmHWM") for pid in self.pids())

    def reset(self) -> None:
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def send(self, body: bytes) -> httpx.Response:
        device = Device()
        return self.client.attempt(self.client.open(device), device, body)


def _told(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(name + ":")), 0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    at = home(tmp_path_factory.mktemp("bombs"), TEXT)
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "vauban.cli", "--json", "serve", str(at.file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        assert process.poll() is None
        said += process.stdout.readline()
    found = Running(process, Client(json.loads(said)["devices"], at.key))
    try:
        for _ in range(5):  # whatever is made once is made now
            assert found.send(image()).status_code == 202
            assert found.send(b"\xff\xd8 no image").status_code == 422
        yield found
    finally:
        found.client.http.close()
        process.terminate()
        process.wait(20)


def test_the_bomb_of_twenty_thousand_bytes_costs_little_and_gets_one_clear_refusal(running: Running) -> None:
    body = bomb()
    assert len(body) < 21_000
    before = running.resident()
    running.reset()
    answer = running.send(body)
    cost = running.peaks() - before
    print(f"a PNG of {len(body)} bytes cost {cost / 2**20:.1f} MiB")
    assert (answer.status_code, answer.content) == (422, BODIES[Code.INVALID_IMAGE])
    assert cost < MOST


def test_the_measure_sees_memory_that_is_used(running: Running) -> None:
    """A picture of 4 megapixels, which is taken, costs more than a bomb that is not."""
    before = running.resident()
    running.reset()
    assert running.send(coded(Image.new("RGB", (2_000, 2_000), (200, 210, 220)))).status_code == 202
    assert running.peaks() - before > 8 << 20


@pytest.mark.parametrize("name", BOMBS)
def test_every_bomb_is_refused_in_the_same_words(running: Running, name: str) -> None:
    body, before = BOMBS[name](), running.resident()
    assert len(body) < 2 << 20
    running.reset()
    began = time.monotonic()
    answer = running.send(body)
    assert (answer.status_code, answer.content) == (422, BODIES[Code.INVALID_IMAGE])
    assert set(answer.headers) == {"content-type", "content-length", "date"}
    assert time.monotonic() - began < 10
    assert running.peaks() - before < MOST
    assert running.send(image()).status_code == 202, "the next picture is decided"


@pytest.mark.parametrize("name", LARGE)
def test_what_is_told_beside_a_picture_costs_little(running: Running, name: str) -> None:
    body, before = LARGE[name](), running.resident()
    assert len(body) < 2 << 20
    running.reset()
    assert running.send(body).status_code in {202, 422}
    assert running.peaks() - before < MOST


def test_an_image_that_takes_long_is_refused_or_where_the_machine_is_busy_no_decision(running: Running) -> None:
    body, before = scans(2_000, 20_000), running.resident()
    running.reset()
    assert running.send(body).content in {BODIES[Code.INVALID_IMAGE], BODIES[Code.UNAVAILABLE]}
    assert running.peaks() - before < MOST
    assert running.send(image()).status_code == 202


@pytest.mark.slow
def test_a_hundred_bombs_cost_no_more_than_one(running: Running) -> None:
    bodies, before = [make() for make in BOMBS.values()], running.resident()
    running.reset()
    for body in bodies * 6:
        assert running.send(body).content == BODIES[Code.INVALID_IMAGE]
    assert running.peaks() - before < MOST
    assert running.send(image()).status_code == 202
