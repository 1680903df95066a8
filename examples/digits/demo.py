"""The whole main job in two minutes: train a small network, audit it, harden it, audit it again. `make demo` runs this.

    python examples/digits/demo.py [FOLDER]

Everything is done by the commands a user would type; they are printed as they run. FOLDER ("demo" by default) holds what they make.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from vauban.campaign.record import Record

HERE = Path(__file__).parent
SMALL = {"OMP_NUM_THREADS": "1"}
"""So small a network is slower on several threads than on one."""


def main(folder: Path) -> None:
    """Run the demonstration in a folder."""
    began = time.perf_counter()
    prepare(folder)
    run(folder, "python", "model.py", title="Train a network on 1297 handwritten digits, the ordinary way")
    vauban(folder, "audit", "--run", "runs/standard", title="Audit it: what does it withstand?")
    vauban(folder, "harden", title="Harden it: train on the worst inputs that an attack finds")
    use_hardened_weights(folder / "vauban.toml")
    vauban(folder, "audit", "--run", "runs/hardened", title="Audit it again, as strictly")
    compare(folder, time.perf_counter() - began)


def prepare(folder: Path) -> None:
    """The campaign file and the model, in a folder of their own; what an earlier demonstration made there goes."""
    if folder.exists() and not (folder / "vauban.toml").exists() and any(folder.iterdir()):
        sys.exit(f"{folder} holds something else; give another folder")
    for old in ("runs", "hardened.training"):
        shutil.rmtree(folder / old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.py", "vauban.toml"):
        shutil.copy(HERE / name, folder / name)


def use_hardened_weights(file: Path) -> None:
    """The one line that `vauban harden` says to change."""
    file.write_text(file.read_text(encoding="utf-8").replace("standard.safetensors", "hardened.safetensors"), encoding="utf-8")


def vauban(folder: Path, *words: str, title: str) -> None:
    """A verb of the command line. Exit codes 0, 1 and 3 are verdicts; anything else ends the demonstration."""
    code = run(folder, "vauban", *words, title=title)
    if code not in {0, 1, 3}:
        sys.exit(code)


def run(folder: Path, command: str, *words: str, title: str) -> int:
    """Print a command, run it in the folder, and return its exit code."""
    print(f"\n=== {title}\n$ {' '.join([command, *words])}\n", flush=True)
    program = [sys.executable, "-m", "vauban.cli"] if command == "vauban" else [sys.executable]
    return subprocess.run([*program, *words], cwd=folder, env={**os.environ, **SMALL}, check=False).returncode


def compare(folder: Path, seconds: float) -> None:
    """The two audits in one line, and where their reports lie."""
    before, after = (Record.read(folder / "runs" / name) for name in ("standard", "hardened"))
    clean = [f"{record['insider'].clean.value:.1%}" for record in (before, after)]
    robust = [f"{record['insider'].robust.value:.1%}" for record in (before, after)]
    print(
        f"\nHardening took robust accuracy from {robust[0]} to {robust[1]} (clean: {clean[0]} to {clean[1]}), all of it in {seconds:.0f} s."
    )
    for name in ("standard", "hardened"):
        print(f"{name:9} {folder / 'runs' / name / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
