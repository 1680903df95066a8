"""Peak memory with 10,000 CIFAR-sized rows: one oracle, and an audit, each in a process of its own.

Measured is the greatest resident memory of the process (on Linux VmHWM of /proc/self/status, since ru_maxrss begins at what the parent
had; elsewhere ru_maxrss), less that of a process that imports the same, loads the model and the same 10,000 float32 rows (117 MiB) and
stops. Steps are few: memory does not grow with them.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.comparison import Check
from benchmarks.options import Options

NAME = "memory"
MODEL, ROWS, STEPS = "cifar-at", 10_000, 3
LIMIT = 2048.0
"""MiB beyond the process that only loads."""
WHAT = {
    "load": "only loads model and rows",
    "pgd": f"pgd, {STEPS} steps, one oracle over all rows",
    "nearest": f"pgd, {STEPS} steps, one oracle, rows never settle",
    "cw-l2": f"cw-l2, 1 search of {STEPS} steps, one oracle",
    "deepfool": "deepfool, 1 step, one oracle",
    "audit": f"vauban.audit, pgd of {STEPS} steps, its folder with inputs kept",
}


def peak_mib() -> float:
    """The most memory this process has had resident, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def child(what: str, data: Path, rows: int) -> dict[str, Any]:
    """The whole life of one measured process."""
    import torch

    import vauban
    from benchmarks.world import reference
    from vauban.attacks import cw_l2, deepfool, pgd
    from vauban.doors import Oracle

    torch.set_num_threads(1)
    source = reference(data)
    model = source.load(MODEL).requires_grad_(True)
    x, y = source.data(MODEL, "train", rows)
    eps = source.MODELS[MODEL][2]
    start = time.process_time()
    if what == "audit":
        threat = vauban.Threat("memory", vauban.Ball(eps))
        with tempfile.TemporaryDirectory() as folder:
            vauban.audit(model, x, y, threat, attacks=[pgd.bind(steps=STEPS)], folder=folder)
    elif what != "load":
        usual = pgd.bind(steps=STEPS)
        attacks = {"pgd": usual, "nearest": usual, "cw-l2": cw_l2.bind(steps=STEPS, searches=1), "deepfool": deepfool.bind(steps=1)}
        norm = 2.0 if attacks[what].facts.minimal else math.inf
        threat = vauban.Threat("memory", vauban.Ball(eps if norm == math.inf else math.inf, norm))
        oracle = Oracle(vauban.Torch(model), x, y, threat, settle="first" if what == "pgd" else "nearest")
        attacks[what](oracle)
        assert oracle.book.attempts[0].backwards > 0, "the attack did nothing"
    return {"mib": peak_mib(), "seconds": time.process_time() - start}


def measure(what: str, o: Options, rows: int) -> dict[str, Any]:
    """Run one process and read what it says last."""
    command = [sys.executable, "-m", "benchmarks.memory", "--child", what, "--data", str(o.data), "--rows", str(rows)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return {
            "mib": math.nan,
            "seconds": math.nan,
            "error": ended.stderr.strip().splitlines()[-1][:160] if ended.stderr.strip() else "died",
        }
    return json.loads(ended.stdout.strip().splitlines()[-1])


def run(o: Options) -> tuple[list[dict[str, Any]], list[Check]]:
    """All processes, one after the other."""
    rows = 2000 if o.quick else ROWS
    lines: list[dict[str, Any]] = []
    base = math.nan
    for what, text in WHAT.items():
        got = measure(what, o, rows)
        base = got["mib"] if what == "load" else base
        over = None if what == "load" or math.isnan(got["mib"]) else got["mib"] - base
        known = {k: v for k, v in got.items() if not (isinstance(v, float) and math.isnan(v))}
        lines.append({"kind": "memory", "what": text, "rows": rows, "over": over, "mib": None, "seconds": None} | known)
    by_text = {line["what"]: line["over"] for line in lines}
    return lines, [Check(NAME, f"{rows} rows: {WHAT[w]}, MiB over loading", by_text[WHAT[w]], LIMIT) for w in WHAT if w != "load"]


def main() -> None:
    """One child."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--child", required=True, choices=WHAT)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    print(json.dumps(child(given.child, given.data, given.rows)))


if __name__ == "__main__":
    main()
