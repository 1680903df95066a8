"""From lines of JSON to a table in the terminal and one in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Line = dict[str, Any]
HEAD = (
    "comparison",
    "model",
    "library",
    "n",
    "ms a row",
    "over its passes",
    "forwards",
    "backwards",
    "robust",
    "success",
    "median",
    "illegal",
)
NOTES = """
CPU time of one thread, the median of turns taken by all sides. *Over its passes*: that time over what the same passes cost on their own,
measured in the same process before and after; passes are counted at the model, in rows. *Robust*, *success* and *median* are judged by
one referee for all sides, on rows classified correctly; examples outside the box or the radius by more than 1e-5 (*illegal*) do not count.
"""
VERDICTS = (
    "model",
    "n",
    "side",
    "measured",
    "seeds",
    "robust",
    "range",
    "any seed",
    "CPU s",
    "over its passes",
    "forwards",
    "backwards",
    "of an unbroken row",
    "trouble",
)
QUESTIONS = ("comparison", "model", "library", "n", "budget", "success", "median first win", "sent", "median L2", "CPU s")
PAIRS = ("model", "n", "ours", "theirs", "only ours breaks, seed by seed", "only theirs breaks")


CERTIFIED = (
    "model",
    "trained",
    "eps",
    "test rows",
    "right",
    "by intervals",
    "by intervals or CROWN",
    "attacked",
    "withstood",
    "certified and broken",
    "times plain training",
    "seconds of training",
)
REJECTING = ("model", "attacker", "knows of rejection", "eps", "test rows", "wrong and accepted", "rejected", "error of the accepted")
KINDS = ("check", "row", "memory", "verdict", "pair", "searched", "certified", "rejecting", "ensembles", "transfer")


def proven(line: Line) -> list[str]:
    """What certified training made of one model."""
    shares = [f"{100 * line[k]:.2f} %" for k in ("clean", "interval", "certified")]
    return [line["model"], line["trained"], f"{line['eps']:g}", str(line["n"]), *shares, str(line["attacked"]), f"{100 * line['withstood']:.1f} %",
            str(line["contradicted"]), figure(line["cost"], 2), f"{line['seconds']:.0f}"]  # fmt: skip


ENSEMBLES = ("trained", "target", "rows", "clean", "robust", "95 %", "training over plain")


def stood(line: Line) -> list[str]:
    """How one target stood under the joint attack."""
    span = f"{100 * line['low']:.1f} to {100 * line['high']:.1f}"
    return [
        line["trained"],
        line["target"],
        str(line["n"]),
        f"{100 * line['clean']:.1f} %",
        f"{100 * line['robust']:.1f} %",
        span,
        figure(line["cost"], 2),
    ]


def carried(line: Line) -> list[list[str]]:
    """The share of examples made on each member that fool each."""
    shares = [[f"{100 * count / line['rows']:.0f} %" for count in row] for row in line["fooled"]]
    return [[name, str(line["rows"]), *row] for name, row in zip(line["names"], shares, strict=True)]


def rejecting(line: Line) -> list[str]:
    """What a model that rejects says to one attacker."""
    shares = [f"{100 * line[k]:.1f} %" for k in ("wrong", "rejected", "error")]
    return [line["model"], line["attacker"], "yes" if line["knows"] else "no", f"{line['eps']:g}", str(line["n"]), *shares]


def figure(value: float | None, digits: int = 3) -> str:
    """A number for a table; an empty cell where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"


def cells(line: Line) -> list[str]:
    """One row of the table."""
    found = [line["comparison"], line["model"], line["side"], str(line["n"])]
    if line["error"]:
        return [*found, line["error"], *[""] * (len(HEAD) - 5)]
    each = None if line["seconds"] is None else 1e3 * line["seconds"] / line["n"]
    numbers = [
        (each, 3),
        *((line[k], d) for k, d in (("overhead", 3), ("forwards", 4), ("backwards", 4), ("robust", 3), ("success", 3), ("median", 5))),
    ]
    return [*found, *(figure(value, digits) for value, digits in numbers), str(line["illegal"])]


def verdict(line: Line) -> list[str]:
    """One promise: the text, what was measured, what was promised, and whether it holds."""
    promised, found = line["promised"], [line["comparison"], line["text"], figure(line["measured"], 4)]
    if promised is None:
        return [*found, "", ""]
    word = "not measured" if line["measured"] is None else "holds" if line["holds"] else "MISSED"
    return [*found, ("at least " if line["at_least"] else "at most ") + figure(promised, 4), word]


def suite(line: Line) -> list[str]:
    """One row of the table of verdicts; what was measured elsewhere says so."""
    found = [line["model"], str(line["n"]), line["side"], line["source"]]
    if line["robust"] is None:
        return [*found, *[""] * (len(VERDICTS) - 5), line["error"]]
    span = "" if line["seeds"] == 1 else f"{figure(line['least'])} to {figure(line['most'])}"
    trouble = line["error"] or (f"{line['unverified']:g} unverified" if line["unverified"] else "")
    hard = "" if line["hard_forwards"] is None else f"{figure(line['hard_forwards'], 4)} + {figure(line['hard_backwards'], 4)}"
    numbers = [figure(line[k], d) for k, d in (("seconds", 3), ("overhead", 3), ("forwards", 4), ("backwards", 4))]
    return [*found, str(line["seeds"]), figure(line["robust"]), span, figure(line["ever"]), *numbers, hard, trouble]


def searched(line: Line) -> list[str]:
    """What one side found with so many questions."""
    found = [line["comparison"], line["model"], line["side"], str(line["n"]), str(line["budget"])]
    if line["error"]:
        return [*found, line["error"], *[""] * (len(QUESTIONS) - 6)]
    near = "; ".join(f"{figure(size)} at {mark}" for mark, size in line["nearest"].items())
    success = "" if line["nearest"] else figure(line["success"])
    return [*found, success, figure(line["median_first"], 4), figure(line["sent"], 5), near, figure(line["seconds"])]


def pair(line: Line) -> list[str]:
    """How two sides differ on the same rows."""
    counts = [", ".join(map(str, line[k])) for k in ("only_ours", "only_theirs")]
    return [line["model"], str(line["n"]), line["ours"], line["theirs"], *counts]


def show(lines: Sequence[Line], console: Console) -> None:
    """Print both tables."""
    for title, head, made in _tables(lines):
        table = Table(title=title, title_justify="left")
        for name in head:
            table.add_column(name, overflow="fold")
        for row in made:
            table.add_row(*row)
        console.print(table)


def markdown(lines: Sequence[Line]) -> str:
    """Both tables as a page, with what they were measured on."""
    parts = ["# Vauban beside other libraries", ""]
    for run in (line for line in lines if line["kind"] == "run"):
        versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items())
        parts += [
            f"Measured {run['date']} on {run['cpu']} ({run['cores']} cores, load {run['load']:g} at the start), commit {run['commit']}. {versions}.",
            "",
        ]
    parts += [NOTES.strip(), ""]
    for title, head, made in _tables(lines):
        parts += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        parts += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in made] + [""]
    return "\n".join(parts)


def _tables(lines: Sequence[Line]) -> list[tuple[str, tuple[str, ...], list[list[str]]]]:
    """Titles, heads and rows of those tables that have any."""
    kinds = {kind: [line for line in lines if line["kind"] == kind] for kind in KINDS}
    memory = [[m["what"], figure(m["mib"], 5), figure(m["over"], 5), figure(m["seconds"])] for m in kinds["memory"]]
    found = [
        ("Promises", ("comparison", "what", "measured", "promised", "verdict"), [verdict(line) for line in kinds["check"]]),
        ("Verdicts", VERDICTS, [suite(line) for line in kinds["verdict"]]),
        ("Questions", QUESTIONS, [searched(line) for line in kinds["searched"]]),
        ("The same rows", PAIRS, [pair(line) for line in kinds["pair"]]),
        ("Measurements", HEAD, [cells(line) for line in kinds["row"]]),
        ("Certified", CERTIFIED, [proven(line) for line in kinds["certified"]]),
        ("Ensembles", ENSEMBLES, [stood(line) for line in kinds["ensembles"]]),
        (
            "Transfer between members: made on the row, judged on the column",
            ("made on", "rows", "first", "second", "third"),
            [made for line in kinds["transfer"] for made in carried(line)],
        ),
        ("Rejecting", REJECTING, [rejecting(line) for line in kinds["rejecting"]]),
        ("Peak memory", ("process", "peak resident, MiB", "over the one that only loads, MiB", "CPU seconds"), memory),
    ]
    return [table for table in found if table[2]]


def read(file: Path) -> list[Line]:
    """Lines of one file of results."""
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
