"""`python -m benchmarks.guard_cost`: what the guard costs in CPU time beside a bare FastAPI and ONNX Runtime endpoint with the same models.

Both are asked over HTTP for 112 x 112 JPEGs by the same client, in turns, so that a machine that is slow for a while is slow for both; what is told
is the median of the turns, and their range. CPU time is that of all processes of a server, from /proc; the models alone are timed in this process.
`--soak SECONDS` goes on asking the guard and tells how its memory grows.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import local

os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx
import numpy as np
import onnxruntime
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from torch import nn

from benchmarks.__main__ import measured_on
from vauban.cli.guard_init import new_key
from vauban.errors import GuardDown
from vauban.guard.client import Client, Device
from vauban.guard.keys import make_keys, write_publisher
from vauban.guard.quorum.calibrate import Asked, sign
from vauban.guard.quorum.ensemble import bundle
from vauban.guard.quorum.rows import Rows
from vauban.target import Torch
from vauban.target.onnx_export import export_onnx

SIDE, AT_ONCE, WARM = 112, 4, 50
SOAK = 1_000_000
"""The number of its first request: pictures are made from numbers, and none is sent twice."""
TICK = os.sysconf("SC_CLK_TCK")
WIDE = """
[listen]
port = 0
slot = "0.01s"
[console]
port = 0
[burst]
count = 100000
[session]
attempts = 5
[limits]
network = { count = 100000000, window = "1h" }
"""


@dataclass(frozen=True)
class Turn:
    """CPU milliseconds for one request, and requests in a second while it was measured."""

    cpu: float
    rate: float


@dataclass(frozen=True)
class Cost:
    """What one side cost in all of its turns, of so many requests each."""

    side: str
    requests: int
    turns: tuple[Turn, ...]

    @property
    def cpu(self) -> float:
        return median(turn.cpu for turn in self.turns)

    def row(self) -> str:
        each = [turn.cpu for turn in self.turns]
        rate = median(turn.rate for turn in self.turns)
        total = f"{len(self.turns)} x {self.requests}"
        return f"| {self.side} | {total} | {self.cpu:.2f} ({min(each):.2f} to {max(each):.2f}) | {1000 / self.cpu:.0f} | {rate:.0f} |"


def networks() -> dict[str, nn.Module]:
    """Three small networks of different kinds for 112 x 112 pictures, untrained: what they cost does not depend on what they know."""
    torch.manual_seed(0)

    def block(into: int, out: int, groups: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 3, 2, 1, groups=groups), nn.ReLU()]

    plain = nn.Sequential(*block(3, 16), *block(16, 32), *block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    depth = nn.Sequential(
        *block(3, 16), *block(16, 16, 16), nn.Conv2d(16, 32, 1), nn.ReLU(), *block(32, 32, 32), nn.Conv2d(32, 64, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2),
    )  # fmt: skip
    patches = nn.Sequential(
        nn.Conv2d(3, 64, 8, 8), nn.GELU(), nn.Conv2d(64, 64, 1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)
    )
    found = {"plain": plain, "depthwise": depth, "patches": patches}
    for network in found.values():
        last = network[-1]
        if isinstance(last, nn.Linear):
            last.weight.data *= 1000  # so that rows lie clearly on one side or the other
    return found


def prepared(folder: Path) -> tuple[str, list[Path]]:
    """A guard in a folder; the backend's key, and the models."""
    make_keys(folder / "keys")
    publisher = Ed25519PrivateKey.generate()
    write_publisher(folder / "keys", publisher.public_key())
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg(1_000_000 + i)))) for i in range(60)])
    rows = Rows(list(pixels), ("live",) * 60)  # nothing is known of attacks: the models are untrained
    x = torch.from_numpy(pixels[:8]).permute(0, 3, 1, 2) / 255
    manifests: list[Path] = []
    for name, network in networks().items():
        path = folder / f"{name}.onnx"
        export_onnx(Torch(network.eval(), outputs="logits"), x, path)
        sign(path, rows, Asked(name=name, family=name, budget=0.2), publisher)
        manifests.append(path.with_suffix(".json"))
    (folder / "models").mkdir()
    bundle(folder / "models" / "first", "first", manifests, publisher)
    key, digest = new_key()
    (folder / "guard.toml").write_text(f'{WIDE}\n[[relying_party]]\nname = "bank"\nkey_sha256 = "{digest}"\n', encoding="utf-8")
    return key, [m.with_suffix(".onnx") for m in manifests]


BARE = """
import io, sys
import numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
told = onnxruntime.SessionOptions(); told.intra_op_num_threads = told.inter_op_num_threads = 1
models = [onnxruntime.InferenceSession(p, told, providers=["CPUExecutionProvider"]) for p in sys.argv[2:]]
app = FastAPI()
def answer(body):
    x = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float32).transpose(2, 0, 1)[None] / 255
    scores = [m.run(None, {m.get_inputs()[0].name: x})[0][0].tolist() for m in models]
    return {"accept": all(s[0] > s[1] for s in scores), "scores": scores}
@app.post("/")
async def ask(request: Request):
    return await run_in_threadpool(answer, await request.body())
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A server, ended afterwards."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def devices_of(guard: subprocess.Popen[str]) -> str:
    """The address of a guard's devices, once it is ready."""
    text = ""
    while not text.rstrip().endswith("}"):
        line = guard.stdout.readline() if guard.stdout else ""
        if not line:
            raise SystemExit(f"benchmarks: the guard did not start; it said {text!r}")
        text += line
    return str(json.loads(text)["devices"])


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(p for c in children for child in c.read_text().split() for p in family(int(child)))]


def cpu(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    fields = [Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split() for p in family(pid)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / TICK


def memory(pid: int) -> float:
    """Resident MiB of a process and all below it."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) * page for p in family(pid)) / 2**20


def jpeg(seed: int) -> bytes:
    """A 112 x 112 JPEG of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(written, "JPEG", quality=90)
    return written.getvalue()


def asked(pid: int, work: Callable[[int], object], first: int, count: int) -> Turn:
    """Ask so many times, a few at once, from the number `first` on, after some that do not count."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(first, first + WARM)))
        before, began = cpu(pid), time.perf_counter()
        list(pool.map(work, range(first + WARM, first + WARM + count)))
        return Turn(1000 * (cpu(pid) - before) / count, count / (time.perf_counter() - began))


def models_alone(paths: list[Path], count: int) -> Turn:
    """The three models on the same pictures, one thread."""
    told = onnxruntime.SessionOptions()
    told.intra_op_num_threads = told.inter_op_num_threads = 1
    models = [onnxruntime.InferenceSession(str(p), told, providers=["CPUExecutionProvider"]) for p in paths]
    x = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    for timed in (False, True):
        before, began = time.process_time(), time.perf_counter()
        for _ in range(count if timed else 20):
            for model in models:
                model.run(None, {model.get_inputs()[0].name: x})
    return Turn(1000 * (time.process_time() - before) / count, count / (time.perf_counter() - began))


class Caller:
    """Asks the guard: every attempt from a device and a session of its own, opened before."""

    def __init__(self, url: str, key: str, count: int) -> None:
        self.url, self.key, self.own = url, key, local()
        self.ready = [(self.client.open(device), device) for device in (Device() for _ in range(count))]

    @property
    def client(self) -> Client:
        if not hasattr(self.own, "client"):
            self.own.client = Client(self.url, self.key)
        return self.own.client

    def attempt(self, i: int) -> None:
        session, device = self.ready[i % len(self.ready)]
        _received(self.client.attempt(session, device, jpeg(i)))

    def whole(self, i: int) -> None:
        _received(self.opened(i))

    def opened(self, i: int) -> httpx.Response:
        device = Device()
        return self.client.attempt(self.client.open(device), device, jpeg(10_000_000 + i))


def _received(answer: httpx.Response) -> None:
    """What was not decided cost less, and is no measurement."""
    if answer.status_code != 202:
        raise RuntimeError(f"{answer.status_code} {answer.text}")


@dataclass(frozen=True)
class Soak:
    """MiB after the first tenth of the time and at its end, how often was asked, and how often the answer was that it is unavailable."""

    first: float
    last: float
    count: int
    unavailable: int

    def text(self) -> str:
        return (
            f"Memory: {self.first:.0f} MiB after a tenth of the soak, {self.last:.0f} MiB at its end, {self.count} sessions and attempts in "
            f"between, of which {self.unavailable} were told that the guard is unavailable."
        )


def soaked(pid: int, caller: Caller, seconds: float) -> Soak:
    """Ask and ask."""
    end, first, count, unavailable = time.monotonic() + seconds, 0.0, 0, 0

    def served(i: int) -> bool:
        try:
            return caller.opened(i).status_code != 503
        except GuardDown:
            return False

    with ThreadPoolExecutor(AT_ONCE) as pool:
        while (left := end - time.monotonic()) > 0:
            unavailable += 100 - sum(pool.map(served, range(SOAK + count, SOAK + count + 100)))
            count += 100
            if not first and left < 0.9 * seconds:
                first = memory(pid)
    return Soak(first, memory(pid), count, unavailable)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=250, help="in each turn")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=None)
    said = parser.parse_args()
    count, step = said.requests, said.requests + WARM
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        key, paths = prepared(folder)
        (folder / "bare.py").write_text(BARE, encoding="utf-8")
        with (
            running(str(folder / "bare.py"), "18099", *map(str, paths)) as bare,
            running("-m", "vauban.cli", "--json", "serve", str(folder / "guard.toml")) as guard,
        ):
            caller, own = Caller(devices_of(guard), key, said.turns * step), local()

            def post(i: int) -> None:
                if not hasattr(own, "http"):
                    own.http = httpx.Client(timeout=30, transport=httpx.HTTPTransport(retries=10))
                own.http.post("http://127.0.0.1:18099/", content=jpeg(i)).raise_for_status()

            sides: dict[str, Callable[[int], Turn]] = {
                "the models alone": lambda _: models_alone(paths, count),
                "bare FastAPI and ONNX Runtime": lambda first: asked(bare.pid, post, first, count),
                "guard: an attempt": lambda first: asked(guard.pid, caller.attempt, first, count),
                "guard: a session and an attempt": lambda first: asked(guard.pid, caller.whole, first, count),
            }
            turns = [{side: turn(i * step) for side, turn in sides.items()} for i in range(said.turns)]
            grown = soaked(guard.pid, caller, said.soak) if said.soak else None
    write([Cost(side, count, tuple(turn[side] for turn in turns)) for side in sides], grown, said.out)


def write(found: list[Cost], grown: Soak | None, out: Path | None) -> None:
    """Print the table, and keep it where that is wanted."""
    models, bare, attempt = found[:3]
    beyond = [a.cpu - m.cpu for a, m in zip(attempt.turns, models.turns, strict=True)]
    over = median(a.cpu / b.cpu for a, b in zip(attempt.turns, bare.turns, strict=True))
    lines = ["| | requests | CPU ms each | requests a second and core, by CPU | asked a second |", "|---|---|---|---|---|"]
    lines += [
        *(cost.row() for cost in found),
        "",
        f"The guard beyond its models: {median(beyond):.2f} ms CPU an attempt ({min(beyond):.2f} to {max(beyond):.2f}; goal: at most 6); "
        f"{over:.1f} times the bare endpoint.",
    ]
    if grown:
        lines += ["", grown.text()]
    text = "\n".join(lines)
    print(text)
    if out:
        out.write_text(f"# What the guard costs\n\n{measured_on()}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
