"""Nothing stays that need not: after a run no file holds an image, its pixels, a device's or an account's name, or a token."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import SIZE
from whole_guards import FAST, Home, home

from vauban.guard.client import Client, Device, Session
from vauban.guard.keys import read_keys

TEXT = FAST + '[session]\ndevice = "named"\n[ledger]\ncheckpoint = "1s"\n[limits]\nnetwork = { count = 100000, window = 60 }\n'
DEVICE, ACCOUNT = "device-of-ms-quixote-4711", "account-of-ms-quixote-0815"
WINDOW = 12
"""So many bytes in a row of what was sent are no chance."""


@dataclass
class Run:
    """What a guard was asked, and where it may have left something."""

    folders: list[Path]
    bodies: list[bytes] = field(default_factory=list)
    pixels: list[bytes] = field(default_factory=list)
    words: list[bytes] = field(default_factory=list)
    log: bytes = b""

    def files(self) -> dict[str, bytes]:
        """All that lies there, and what was logged."""
        found = {str(path): path.read_bytes() for folder in self.folders for path in folder.rglob("*") if path.is_file()}
        return found | {"log": self.log}


def distinct(brightness: float, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """Pixels that nobody else has: noise around a level."""
    return np.random.default_rng(seed).integers(int(255 * brightness) - 30, int(255 * brightness) + 30, (*SIZE, 3)).astype(np.uint8)


def coded(pixels: np.ndarray, kind: str) -> bytes:  # type: ignore[type-arg]
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A guard in processes of its own, with a temporary folder of its own, that was asked in every way and has ended."""
    at, (temporary, user) = home(tmp_path_factory.mktemp("retention"), TEXT), [tmp_path_factory.mktemp(n) for n in ("temporary", "user")]
    found = Run([at.folder, temporary, user])
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    environment = kept | {"TMPDIR": str(temporary), "HOME": str(user), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with (temporary.parent / "retention.log").open("wb") as log:
        command = [sys.executable, "-m", "vauban.cli", "--json", "serve", str(at.file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=temporary)
        try:
            asked(found, at, process)
            time.sleep(1.5)  # monitors, checkpoints
            found.bodies, found.pixels = [*found.bodies], [*found.pixels]
            during = found.files()
        finally:
            process.terminate()
            process.wait(20)
    found.log = (temporary.parent / "retention.log").read_bytes()
    held = found.files()
    assert any("guard.db" in name for name in held)
    found.files = lambda: {f"{name} (while it ran)": content for name, content in during.items()} | held  # type: ignore[method-assign]
    yield found


def asked(run: Run, at: Home, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        assert process.poll() is None
        said += process.stdout.readline()
    client = Client(json.loads(said)["devices"], at.key)
    run.words += [DEVICE.encode(), ACCOUNT.encode(), at.key.encode(), at.operator.encode()]
    for number, (kind, brightness) in enumerate([("PNG", 0.8), ("PNG", 0.2), ("JPEG", 0.8), ("WEBP", 0.2)]):
        pixels = distinct(brightness, number)
        body, device = coded(pixels, kind), Device(f"{DEVICE}-{number}")
        session = client.open(device, f"{ACCOUNT}-{number}", signed=False)
        headers = attempted(run, client, session, device, body, 202)
        again = client.http.post(client.url + "/v1/attempts", content=body, headers=headers)
        assert again.status_code == 409
        broken = body[:-40] + bytes(40)
        attempted(run, client, session, device, broken, None)
        run.pixels.append(pixels.tobytes() if kind == "PNG" else np.asarray(Image.open(BytesIO(body)).convert("RGB")).tobytes())
        told = client.result(session)
        run.words += [
            session.token.encode(),
            session.session_id.encode(),
            told["receipt"].encode(),
            f"{DEVICE}-{number}".encode(),
            f"{ACCOUNT}-{number}".encode(),
        ]
    client.http.close()


def attempted(run: Run, client: Client, session: Session, device: Device, body: bytes, status: int | None) -> dict[str, str]:
    headers = device.headers(session, body, signed=False)
    answer = client.http.post(client.url + "/v1/attempts", content=body, headers=headers)
    assert status is None or answer.status_code == status
    run.bodies.append(body)
    return headers


def windows(content: bytes, step: int = WINDOW) -> set[bytes]:
    """Stretches of an image in which there is something to see."""
    found = {content[at : at + WINDOW] for at in range(0, len(content) - WINDOW, step)}
    return {part for part in found if len(set(part)) > WINDOW // 2}


def kept(files: dict[str, bytes], parts: set[bytes]) -> list[str]:
    """The files that hold one of them, as it is or in a common coding; every place of a file is looked at."""
    hexes = {part.hex().encode() for part in parts}
    codes = {base64.b64encode(part[: WINDOW // 3 * 3]) for part in parts}
    found: list[str] = []
    for name, content in files.items():
        for wanted in (parts, hexes, codes):
            size = len(next(iter(wanted)))
            if any(content[at : at + size] in wanted for at in range(len(content) - size + 1)):
                found.append(name)
                break
    return found


def test_no_file_holds_an_image_as_it_was_sent(run: Run) -> None:
    parts: set[bytes] = set().union(*(windows(body[60:-60]) for body in run.bodies))
    assert len(parts) > 100
    assert kept(run.files(), parts) == []


def test_no_file_holds_pixels(run: Run) -> None:
    parts: set[bytes] = set()
    for pixels in run.pixels:
        flat = np.frombuffer(pixels, np.uint8).reshape(*SIZE, 3)
        floats = (flat[:2].astype(np.float32) / 255).tobytes()
        parts |= windows(pixels) | windows(floats) | {p for c in range(3) for p in windows(np.ascontiguousarray(flat[..., c]).tobytes())}
    assert len(parts) > 100
    assert kept(run.files(), parts) == []


def test_no_file_holds_a_digest_of_an_image_that_is_not_keyed(run: Run) -> None:
    digests = [sha256(told).digest() for told in (*run.bodies, *run.pixels)]
    for name, content in run.files().items():
        for digest in digests:
            assert digest not in content and digest.hex().encode() not in content, name


def test_no_file_holds_a_name_a_token_or_a_key(run: Run) -> None:
    for name, content in run.files().items():
        for word in run.words:
            assert word not in content, (name, word)
            assert base64.b64encode(word)[: len(word) // 3 * 4] not in content, (name, word)
            assert word.hex().encode() not in content, (name, word)


def test_no_fingerprint_looks_like_the_image(run: Run) -> None:
    """The cells of a thumbnail are turned by a secret: what is stored is no more like the picture than chance."""
    import sqlite3

    with sqlite3.connect(f"file:{run.folders[0] / 'guard.db'}?mode=ro", uri=True) as database:
        thumbs = [np.frombuffer(row[0], np.int8).astype(float) for row in database.execute("SELECT thumb FROM watch_prints")]
    assert thumbs
    for pixels in run.pixels:
        flat = np.frombuffer(pixels, np.uint8).reshape(*SIZE, 3).astype(float)
        cells = flat.reshape(8, SIZE[0] // 8, 8, SIZE[1] // 8, 3).mean((1, 3))
        cells -= cells.mean((0, 1))
        for thumb in thumbs:
            for order in (cells.ravel(), cells.transpose(2, 0, 1).ravel()):
                if thumb.any():
                    assert abs(np.corrcoef(order, thumb)[0, 1]) < 0.35  # 192 numbers: 5 standard deviations


def test_nothing_is_left_in_the_temporary_folder_or_the_users_not_even_by_libraries(run: Run) -> None:
    """ONNX Runtime keeps what it tells its maker in both, if it is let."""
    assert [list(folder.rglob("*")) for folder in run.folders[1:]] == [[], []]


def test_secrets_are_in_their_folder_only_and_for_their_user_only(run: Run) -> None:
    keys = run.folders[0] / "keys"
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys.glob("*.json"))
    held = read_keys(keys)
    for name, content in run.files().items():
        if "/keys/" not in name:
            for secret in (*held.token.values(), held.identity, held.fingerprint, held.ledger):
                assert secret not in content and secret.hex().encode() not in content, name


def test_an_image_that_is_kept_would_be_found(run: Run, tmp_path: Path) -> None:
    """What these tests look for is found where it is: in the middle of a file, raw, as text, at any place."""
    body, part = run.bodies[0], windows(run.bodies[0][60:-60])
    sample = next(iter(part))
    for held in (b"x" * 17 + body, b"y" + sample.hex().encode(), b"zz" + base64.b64encode(sample)):
        assert kept({"file": held}, part) == ["file"]
