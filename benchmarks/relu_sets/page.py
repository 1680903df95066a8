"""The results as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.table import figure, verdict

SETS = ("net", "correct", "stand after one ascent", "after one for each class", "after 100 restarts of PGD", "after autoattack", "asked the solver",
        "broken", "out of reach", "undecided", "CPU s: training, attacks, solver")  # fmt: skip
SIDES = ("net", "rows", "side", "seeds", "broken", "range", "forwards a row", "backwards a row", "most backwards", "CPU ms a row",
         "over bare AutoAttack")  # fmt: skip
NOTES = """
The rows of a set are test digits that the network classifies correctly, that 100 restarts of PGD (40 steps) and the suite `autoattack` (seed 0)
leave standing, and for which the mixed-integer program of `vauban.bounds.exact` found an input inside the ball that the network misclassifies. The
program was asked about the rows that came nearest to falling, and about the two likeliest classes of each; *out of reach*: it proved that neither
of them can win. No attack of the table had a part in the choice, but for `autoattack` with seed 0.

Passes are counted at the model, in rows; CPU time is of one thread. *Bare AutoAttack*: 7,864 forwards and 1,910 backwards, what AutoAttack spends on
a row that it does not break, at the pace of the same batch in the same process.
"""


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The page of a run's lines."""
    run = lines[0]
    versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items() if k in ("python", "vauban", "torch", "numpy"))
    cores = f"{run['cores']} cores, load {run['load']:g} at the start"
    parts = ["# Rows of small ReLU networks that can be broken, as a solver shows", "",
             f"Measured {run['date']} on {run['cpu']} ({cores}), commit {run['commit']}. {versions}.", "", NOTES.strip(), ""]  # fmt: skip
    for title, head, kind, cells in (
        ("Promises", ("comparison", "what", "measured", "promised", "verdict"), "check", verdict),
        ("Sets", SETS, "relu set", _set),
        ("Attacks", SIDES, "relu side", _side),
    ):
        parts += [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        parts += ["| " + " | ".join(cells(line)) + " |" for line in lines if line["kind"] == kind] + [""]
    return "\n".join(parts)


def _set(s: dict[str, Any]) -> list[str]:
    counts = (
        "correct",
        "after_one_ascent",
        "after_ascents_by_class",
        "after_restarts",
        "after_autoattack",
        "asked",
        "broken",
        "ruled_out",
        "undecided",
    )
    told = [str(s[k]) for k in counts]
    told[2] += f" of {s['tried_by_class']}"
    told[3] += f" of {s['tried_by_restarts']}"
    return [s["net"], *told, ", ".join(f"{t:.0f}" for t in s["seconds"])]


def _side(s: dict[str, Any]) -> list[str]:
    span = f"{s['least']} to {s['most']}"
    costs = [figure(s[k], 4) for k in ("forwards", "backwards", "most_backwards", "milliseconds")]
    return [s["net"], str(s["n"]), s["side"], str(s["seeds"]), figure(s["broken"]), span, *costs, figure(s["milliseconds"] / s["bare"])]
