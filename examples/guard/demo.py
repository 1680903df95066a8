"""A liveness check in service: harden three networks, sign them, serve them behind the guard, and try to get in.

    python examples/guard/demo.py [FOLDER] [--quick]

Everything that a user would type is printed as it runs. FOLDER ("guarded" by default) holds what is made; nothing stays running. --quick takes
half of the rows and next to no training: it shows that everything runs, and no more.

The faces are synthetic: drawn by a program. What the numbers show is the flow, not the strength of any real liveness check.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from vauban.data.liveness import synthetic_faces
from vauban.guard.client import Client, Device

HERE = Path(__file__).parent
LIVENESS = HERE.parent / "liveness"
FAMILIES = {"plain": "convolutional", "mobile": "depthwise", "mixer": "mixer"}
ROWS = {"train": 1500, "calibration": 600, "test": 300}
SMALL = {"OMP_NUM_THREADS": "1"}
"""So small a network is slower on several threads than on one."""
TRAINING = """
seed = 1

[target]
load = "models.py:{name}"
outputs = "logits"
weights = "{name}.safetensors"

[data]
load = "test.npz"

[[threat]]
name = "insider"
norm = "linf"
eps = "4/255"
goal = {{ wanted = "live", from = ["spoof"] }}

[harden]
attack = {{ name = "pgd", steps = 4, step = 0.5 }}
epochs = {epochs}
batch = 64
lr = {rate}
ramp = 0.6
keep = "last"
out = "{name}-hardened.safetensors"

[harden.data]
load = "train.npz"
"""
RATES = {"plain": 2e-3, "mobile": 4e-3, "mixer": 2e-3}


def main(folder: Path, *, quick: bool = False) -> None:
    """Run the demonstration in a folder."""
    began = time.perf_counter()
    prepare(folder, quick=quick)
    python(folder, "train.py", *(["--epochs", "3"] if quick else []), title="Train three networks, the ordinary way")
    for name, family in FAMILIES.items():
        vauban(folder, "harden", f"{name}.toml", "--export", f"{name}.onnx", title=f"Harden the {family} network, and write it as ONNX")
    key, operator = signed(folder)
    with serving(folder) as (devices, console):
        client = Client(devices, key)
        attempts(client, folder, console)
        environment = {"VAUBAN_GUARD_KEY": key}
        words = ("guard", "check", "service/guard.toml", "--url", devices)
        vauban(folder, *words, title="Hold it, as it runs, against the banking recommendation", environment=environment)
    vauban(folder, "guard", "verify-ledger", "service/guard.toml", title="Verify that no record was changed")
    print(
        f"\nAll of it in {time.perf_counter() - began:.0f} s. Nothing runs any more; `vauban serve {folder}/service/guard.toml` starts it.\n"
        f"The key of its operator, for the console: {operator}\nThe key of its backend, which opens sessions: {key}"
    )


def prepare(folder: Path, *, quick: bool) -> None:
    """Faces, the networks' code and a file of training for each of them, in a folder of its own; what an earlier run made there goes."""
    if folder.exists() and not (folder / "plain.toml").exists() and any(folder.iterdir()):
        sys.exit(f"{folder} holds something else; give another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("models.py", "train.py"):
        shutil.copy(LIVENESS / name, folder)
    print("=== Draw synthetic faces: live, printed, replayed, masked", flush=True)
    for split, usual in ROWS.items():
        rows = synthetic_faces(split, rows=usual // 2 if quick and split == "train" else usual)
        x = (rows.x * 255).round().byte().numpy()
        np.savez(folder / f"{split}.npz", x=x, y=rows.y.numpy(), classes=np.array(rows.classes), species=np.array(rows.groups))
    for name in FAMILIES:
        (folder / f"{name}.toml").write_text(TRAINING.format(name=name, rate=RATES[name], epochs=1 if quick else 5), encoding="utf-8")


def signed(folder: Path) -> tuple[str, str]:
    """A guard, and the three models signed as its first ensemble; the backend's key, and the operator's."""
    print("\n=== Set up a guard\n$ vauban guard init service", flush=True)
    told = json.loads(output(folder, "--json", "guard", "init", "service"))
    file = folder / "service" / "guard.toml"
    text = file.read_text(encoding="utf-8")
    for here, there in (("port = 8080", "port = 0"), ("port = 8081", "port = 0")):  # any free ports
        text = text.replace(here, there)
    file.write_text(text, encoding="utf-8")
    vauban(folder, "guard", "models", "key", "publisher.key", title="A key to sign models with; it stays with whoever trains them")
    public = json.loads((folder / "publisher.key").read_text(encoding="utf-8"))["public"]
    vauban(folder, "guard", "models", "trust", public, "--config", "service/guard.toml", title="The guard knows whom to believe")
    for name, family in FAMILIES.items():
        vauban(
            folder, "guard", "models", "sign", f"{name}.onnx", "--data", "calibration.npz", "--group", "species", "--family", family,
            "--rejected", "0.15", "--key", "publisher.key", "--training", f"{name}-hardened.safetensors.json",
            title=f"Calibrate {name} to one operating point, and sign it",
        )  # fmt: skip
    manifests = [f"{name}.json" for name in FAMILIES]
    vauban(
        folder, "guard", "models", "bundle", "service/models/first", *manifests, "--data", "calibration.npz", "--group", "species",
        "--key", "publisher.key", title="Three models of different families, together",
    )  # fmt: skip
    return str(told["backend"]), str(told["operator"])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """The guard, on free ports; the addresses of its two listeners."""
    print("\n=== Serve them\n$ vauban serve service/guard.toml", flush=True)
    command = [sys.executable, "-m", "vauban.cli", "--json", "serve", "service/guard.toml"]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **SMALL}, stdout=subprocess.PIPE, text=True) as process:
        try:
            text = ""
            while process.stdout is not None and not text.rstrip().endswith("}"):
                line = process.stdout.readline()
                if not line:
                    sys.exit("the guard did not start")
                text += line
            told = json.loads(text)
            yield told["devices"], told["console"]
        finally:
            process.terminate()


def attempts(client: Client, folder: Path, console: str) -> None:
    """Live people, spoofs, and one device that does not give up."""
    held = np.load(folder / "test.npz")
    live, spoof = (held["x"][held["y"] == held["classes"].tolist().index(kind)] for kind in ("live", "spoof"))
    print(f"\n=== Attempts over HTTP (devices at {client.url}, console at {console})\n", flush=True)
    for title, faces in (("20 live people", live[:20]), ("20 spoofs", spoof[:20])):
        decisions = Counter(decided(client, face) for face in faces)
        print(f"{title}, a device and a session each: {decisions['accept']} accepted, {decisions['reject']} rejected")
    device, answers = Device(), Counter[int]()
    for i in range(4):
        session = client.open(device)
        answers.update(client.attempt(session, device, png(spoof[20 + 4 * i + j])).status_code for j in range(4))
    print(
        f"one device that tries 16 times in 4 sessions: {answers[202]} received, {answers[429]} refused (3 a session, locked after 5 rejections)"
    )
    device = Device()
    answer = client.attempt(client.open(device), device, png(live[30]))
    print(f"all that a device is told: {answer.status_code} {answer.text}, after {1000 * answer.elapsed.total_seconds():.0f} ms")


def decided(client: Client, face: np.ndarray) -> str:
    """What becomes of one face, as the backend learns it; it ends the session after one attempt."""
    device = Device()
    session = client.open(device)
    client.attempt(session, device, png(face))
    client.close(session)
    return str(client.result(session)["decision"])


def png(face: np.ndarray) -> bytes:
    """A picture of uint8 (3, h, w) as a file."""
    written = io.BytesIO()
    Image.fromarray(face.transpose(1, 2, 0)).save(written, "PNG")
    return written.getvalue()


def python(folder: Path, *words: str, title: str) -> None:
    """A program of the example; one that fails ends the demonstration."""
    print(f"\n=== {title}\n$ python {' '.join(words)}\n", flush=True)
    if code := subprocess.run([sys.executable, *words], cwd=folder, env={**os.environ, **SMALL}, check=False).returncode:
        sys.exit(code)


def vauban(folder: Path, *words: str, title: str, environment: dict[str, str] | None = None) -> None:
    """A verb of the command line. Exit codes 0, 1 and 2 of `guard check` are its ruling; elsewhere only 0 goes on."""
    print(f"\n=== {title}\n$ vauban {' '.join(words)}\n", flush=True)
    command = [sys.executable, "-m", "vauban.cli", *words]
    code = subprocess.run(command, cwd=folder, env={**os.environ, **SMALL, **(environment or {})}, check=False).returncode
    if code and words[:2] != ("guard", "check"):
        sys.exit(code)


def output(folder: Path, *words: str) -> str:
    """What a verb prints."""
    return subprocess.run([sys.executable, "-m", "vauban.cli", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--quick"]
    main(Path(given[0] if given else "guarded"), quick="--quick" in sys.argv)
