"""A liveness check from drawn faces to a hardened model: train three networks, audit spoof to live, harden, audit again, audit a committee.

    python examples/liveness/demo.py [FOLDER] [--quick]

Everything is done by the commands a user would type; they are printed as they run. FOLDER ("liveness" by default) holds what they make. --quick takes
a fifth of the rows and next to no training: it shows that everything runs, and no more.

The faces are synthetic: drawn by a program. What the numbers show is the flow, not the strength of any real liveness check.
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
FILES = ("faces.py", "models.py", "train.py", "committee.py", "vauban.toml", "committee.toml")
SMALL = {"OMP_NUM_THREADS": "1"}
"""So small a network is slower on several threads than on one."""


def main(folder: Path, *, quick: bool = False) -> None:
    """Run the demonstration in a folder."""
    began = time.perf_counter()
    prepare(folder)
    run(folder, "python", "faces.py", *(["0.2"] if quick else []), title="Draw synthetic faces: live, printed, replayed, masked")
    run(folder, "python", "train.py", *(["--epochs", "4"] if quick else []), title="Train three networks, the ordinary way")
    audit(folder, "standard", "Audit the plain one: what does it take to pass for live?")
    vauban(folder, "harden", *(["--epochs", "1"] if quick else []), title="Harden it: train on the worst inputs that an attack finds")
    use_hardened_weights(folder / "vauban.toml")
    audit(folder, "hardened", "Audit it again, as strictly")
    audit(folder, "committee", "Audit a committee of three: the hardened network and two of other kinds", "committee.toml")
    compare(folder, time.perf_counter() - began)


def prepare(folder: Path) -> None:
    """What the demonstration needs, in a folder of its own; what an earlier one made there goes."""
    if folder.exists() and not (folder / "vauban.toml").exists() and any(folder.iterdir()):
        sys.exit(f"{folder} holds something else; give another folder")
    for old in ("runs", "hardened.training"):
        shutil.rmtree(folder / old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder / name)


def use_hardened_weights(file: Path) -> None:
    """The one line that `vauban harden` says to change."""
    file.write_text(file.read_text(encoding="utf-8").replace("plain.safetensors", "hardened.safetensors"), encoding="utf-8")


def audit(folder: Path, name: str, title: str, *file: str) -> None:
    """An audit into a run folder of this name."""
    vauban(folder, "audit", *file, "--run", f"runs/{name}", title=title)


def vauban(folder: Path, *words: str, title: str) -> None:
    """A verb of the command line. Exit codes 0, 1 and 3 are verdicts; anything else ends the demonstration."""
    code = run(folder, "vauban", *words, title=title)
    if code not in {0, 1, 3}:
        sys.exit(code)


def run(folder: Path, command: str, *words: str, title: str) -> int:
    """Print a command, run it in the folder, and return its exit code; a program of ours that fails ends the demonstration."""
    print(f"\n=== {title}\n$ {' '.join([command, *words])}\n", flush=True)
    program = [sys.executable, "-m", "vauban.cli"] if command == "vauban" else [sys.executable]
    code = subprocess.run([*program, *words], cwd=folder, env={**os.environ, **SMALL}, check=False).returncode
    if code and command != "vauban":
        sys.exit(code)
    return code


def compare(folder: Path, seconds: float) -> None:
    """What passed under the insider's attack, model by model, and where the reports lie."""
    print(f"\nSynthetic faces, all of it in {seconds:.0f} s. Spoofs of the worst species that pass (APCER), with exact 95% intervals:")
    for name in ("standard", "hardened", "committee"):
        told = Record.read(folder / "runs" / name)["insider"].presented
        assert told is not None
        low, high = (100 * end for end in told.under.apcer_interval)
        print(
            f"{name:9} {told.before.apcer:6.1%} at first, {told.under.apcer:6.1%} [{low:.1f}, {high:.1f}] under attack ({told.under.worst.name}); "
            f"BPCER {told.under.bpcer.text()}   {folder / 'runs' / name / 'report.html'}"
        )


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--quick"]
    main(Path(words[0] if words else "liveness"), quick="--quick" in sys.argv)
