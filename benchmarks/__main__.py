"""`python -m benchmarks --data DIR`: run comparisons, write lines of JSON as they come, then a Markdown table; print what was missed."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console

from benchmarks import (
    blackbox,
    certified,
    component,
    cw,
    ddn,
    deepfool,
    ensembles,
    fgsm,
    fmn,
    memory,
    overhead,
    pgd,
    precision,
    rejection_training,
    smoothing,
    table,
    verdict,
)
from benchmarks.comparison import Check, Row
from benchmarks.measure import one_thread
from benchmarks.options import Options

COMPARISONS = {
    "overhead": overhead,
    "pgd": pgd,
    "precision": precision,
    "fgsm": fgsm,
    "deepfool": deepfool,
    "fmn": fmn,
    "cw": cw,
    "ddn": ddn,
    "memory": memory,
    "component": component,
    "verdict": verdict,
    "blackbox": blackbox,
    "smoothing": smoothing,
    "certified": certified,
    "ensembles": ensembles,
    "rejection-training": rejection_training,
}
USUAL = tuple(name for name in COMPARISONS if name not in ("verdict", "smoothing", "certified", "ensembles", "rejection-training"))
"""Verdicts with the published settings take hours, and the others that are left out train models first; they are measured when they are named."""
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("vauban", "torch", "numpy", "foolbox", "adversarial-robustness-toolbox", "torchattacks", "adv-lib")


def main() -> None:
    """Read the command line and run what it asks for."""
    given = _arguments()
    one_thread()
    console = Console(width=max(Console().width, 150))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [about()]
    carlini: list[Row] = []
    with given.out.open("w") as file:
        file.write(json.dumps(lines[0]) + "\n")
        for name in given.only:
            console.print(f"[bold]{name}[/bold]")
            measured, found = _run(name, Options(given.data, given.n, given.quick, given.models, given.sides, given.seeds), carlini)
            carlini += [r for r in measured if isinstance(r, Row)] if name == "cw" else []
            fresh = [m.line() if hasattr(m, "line") else m for m in measured] + [c.line() for c in found]
            file.writelines(json.dumps(line) + "\n" for line in fresh)
            file.flush()
            table.show(fresh, console)
            lines += fresh
    given.out.with_suffix(".md").write_text(table.markdown(lines))
    missed = [line["text"] for line in lines if line["kind"] == "check" and not line["holds"]]
    said = "".join(f"\n  {text}" for text in missed)
    console.print(f"{given.out} and {given.out.with_suffix('.md').name}: {len(missed)} promises missed{said}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Vauban beside ART, Foolbox, torchattacks and adv-lib.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds reference.py, models and data")
    parser.add_argument(
        "--only", type=_names, default=USUAL, metavar="A,B", help=f"{', '.join(COMPARISONS)}; all but verdict and smoothing by default"
    )
    parser.add_argument("--n", type=int, help="rows, instead of each comparison's own number")
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows and fewer turns: minutes instead of an hour")
    parser.add_argument("--models", type=_names, default=(), metavar="A,B", help='verdict: reference or tuning models, or "tuning" for all')
    parser.add_argument("--sides", type=_names, default=(), metavar="A,B", help="verdict: suites of Vauban, torchattacks, adv-lib")
    parser.add_argument("--seeds", type=int, default=3, help="verdict: how many")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / f"{datetime.date.today():%Y-%m-%d}.jsonl", metavar="FILE", help="lines of JSON"
    )
    given = parser.parse_args()
    unknown = [name for name in given.only if name not in COMPARISONS]
    if unknown:
        parser.error(f"unknown comparison {unknown[0]!r}; there are {', '.join(COMPARISONS)}")
    return given


def _run(name: str, o: Options, carlini: list[Row]) -> tuple[list[Any], list[Check]]:
    if name == "ddn":
        return ddn.run(o, carlini)
    return COMPARISONS[name].run(o)


def measured_on() -> str:
    """When, where and with what something is measured, in a sentence."""
    run = about()
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items() if k in ("python", "vauban", "torch", "numpy"))
    return (
        f"Measured {run['date']} on {run['cpu']} ({run['cores']} cores, load {run.get('load', '?')}), commit {run['commit']}. {versions}."
    )


def about() -> dict[str, Any]:
    """When, on what, and with which versions."""
    return {
        "kind": "run",
        "date": f"{datetime.date.today():%Y-%m-%d}",
        "python": platform.python_version(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _commit() -> str:
    """The commit that was measured, with a plus sign where files were changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "--", "../src"], capture_output=True, text=True, check=False)
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
