"""`python -m benchmarks.matrix [NAME ...] [--data DIR]`: run the campaign files of this folder with `vauban matrix`, and keep what they measured.

What is measured lies in `.tuning/matrix` and is gone on with where it was stopped. What is kept is `results/matrix.csv`, which the pages of
defences and of ways of training quote, and a page of tables, `results/matrix.md`. Files that are not named keep their lines.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.__main__ import RESULTS, about
from vauban.campaign.matrix.contenders import BARE
from vauban.campaign.matrix.result import Line as Measured
from vauban.campaign.matrix.result import Matrix
from vauban.campaign.record import Record

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = ("digits", "digits-rejecting", "colour")
NORMS = {"linf": "L∞", "l2": "L2"}
FIELDS = (
    *(
        "file",
        "data",
        "threat",
        "defence",
        "attack",
        "rows",
        "naive",
        "naive_low",
        "naive_high",
        "adaptive",
        "adaptive_low",
        "adaptive_high",
    ),
    *("clean", "rejected", "certified", "training", "inference", "doubts", "wears", "settings"),
)
HEAD = ("defence", "clean", "rejected", "naive", "robust", "certified", "training", "an answer", "in doubt")
Line = dict[str, str]


def main() -> None:
    """Run what is named, and write both files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", default=NAMES[:2], metavar="NAME", help=f"{', '.join(NAMES)}; all that need no --data by default"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder that holds reference.py and its data; colour needs it")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown file {unknown[0]!r}; there are {', '.join(NAMES)}")
    if "colour" in given.names and given.data is None:
        parser.error("colour pictures lie outside the repository: give --data")
    for name in given.names:
        run(name, given.data)
    keep(given.names, RESULTS)


def run(name: str, data: Path | None) -> None:
    """`vauban matrix NAME.toml`, which finds `benchmarks` and, in VAUBAN_DATA, the data that are not in the repository."""
    surroundings = os.environ | ({} if data is None else {"VAUBAN_DATA": str(data.resolve())})
    subprocess.run([sys.executable, "-m", "vauban.cli", "matrix", str(HERE / f"{name}.toml")], cwd=ROOT, env=surroundings, check=True)


def keep(names: Sequence[str], folder: Path) -> None:
    """Put the tables of some files in the place of those that were kept of them."""
    file = folder / "matrix.csv"
    known = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))) if file.is_file() else []
    found = {name: lines_of(name) if name in names else [line for line in known if line["file"] == name] for name in NAMES}
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, FIELDS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(line for lines in found.values() for line in lines)
    (folder / "matrix.md").write_text(page(found, about()), encoding="utf-8")


def lines_of(name: str) -> list[Line]:
    """The lines that `vauban matrix` wrote, with the threat in words and what that CSV does not say."""
    said = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    folder = HERE / said["matrix"]["folder"]
    threats = {t["name"]: f"{NORMS[t['norm']]} {t['eps']}" for t in said["threat"]}
    chosen = {given["label"]: settings_of(given) for given in said["matrix"].get("defence", [])}
    more = {
        line.label: {"wears": ", ".join(line.wears), "settings": chosen.get(line.label, ""), "rejected": rejected(folder, line)}
        for line in Matrix.read(folder).measured
    }
    found = csv.DictReader(io.StringIO((folder / "matrix.csv").read_text(encoding="utf-8")))
    return [line | {"file": name, "threat": threats[line["threat"]]} | more[line["defence"]] for line in found]


def rejected(folder: Path, line: Measured) -> str:
    """The share of clean rows that are rejected; empty where nothing can be."""
    stand = line.stands[0]
    declined = Record.read((folder / stand.report).parent)[stand.threat].declined
    return "" if declined is None else f"{declined.clean.value:.4f}"


def settings_of(given: dict[str, Any]) -> str:
    """How long a line is trained, and its settings that are not the defaults; where code lies and what rows are fitted on is left out."""
    harden = given.get("harden")
    parts = [*([harden["method"]] if harden else []), *given.get("defence", [])]
    epochs = [f"{harden['epochs']} epochs"] if harden else []
    return ", ".join([*epochs, *(f"{k} = {v:g}" for part in parts for k, v in part.items() if k not in ("name", "data", "load"))])


def page(found: dict[str, list[Line]], told: dict[str, Any]) -> str:
    """A table for each file: what stood against every attack together."""
    text = [
        "# The matrix: every defence and every way of training",
        f"Written {told['date']} on {told['cpu']}, commit {told['commit']}, one thread, by `python -m benchmarks.matrix`.",
        "Shares of all rows. *Clean*: answered rightly, and not rejected; *rejected*: of the clean rows. *Robust*: right without attack, and "
        "answered rightly or rejected under every attack, of an attacker that knows the defence: the suite `vauban` and what the defence owes. "
        "*Naive*: the same, were there only the attack that is made for the network without its defences; it is no measure of a defence. 95% "
        "intervals. "
        "*Training* is over plain training, *an answer* over one of the undefended network, in CPU time. Networks and pictures are small: the tables "
        "show what a defence does to an attack, not how robust anything of use is.",
    ]
    for name, lines in found.items():
        whole = [line for line in lines if line["attack"] == "all"]
        if whole:
            first = whole[0]
            text += [f"## {name}: {first['threat']}, {first['rows']} rows", table(map(row, whole))]
    return "\n\n".join(text) + "\n"


def table(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(line: Line) -> list[str]:
    """One line: shares that stood, where the CSV has shares that fell."""
    times = [f"× {float(line[key]):.1f}" if line[key] else "" for key in ("training", "inference")]
    shares = {key: f"{float(line[key]):.0%}" if line[key] else "" for key in ("clean", "rejected", "certified")}
    stand = [stood(line, side) for side in ("naive", "adaptive")]
    return [called(line), shares["clean"], shares["rejected"], *stand, shares["certified"], *times, line["doubts"]]


def called(line: Line) -> str:
    """What a line is called, with what else stands there and its settings."""
    if line["defence"] == BARE:
        return BARE
    more = [f"`{name}`" for name in line["wears"].split(", ") if name != line["defence"]]
    told = ", ".join([*(["with " + " and ".join(more)] if more else []), *([line["settings"]] if line["settings"] else [])])
    return f"`{line['defence']}`" + (f" ({told})" if told else "")


def stood(line: Line, side: str) -> str:
    """What one attacker left, and its interval; empty where that attacker means nothing."""
    if not line[side]:
        return ""
    high, low = 1 - float(line[f"{side}_low"]), 1 - float(line[f"{side}_high"])
    return f"{1 - float(line[side]):.0%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
