"""What the committed matrix says of one defence or way of training: a sentence for each data set, a verdict, and a table of attacks."""

from __future__ import annotations

import csv
from pathlib import Path

from page_parts import table

from vauban.defences.training import METHODS
from vauban.defences.training.measures import right_under_noise

MATRIX = Path(__file__).parent.parent / "benchmarks" / "results" / "matrix.csv"
"""What `python -m benchmarks.matrix` measured on the reference data: one line for each defence and attack, shares of rows that fell."""
SLOW = 1.5
"""An answer that takes so many times as long is told to be slower; small networks cannot be timed better."""
BARE, WHOLE = "undefended", "all"
Line = dict[str, str]


def measured(name: str) -> str:
    """The part of a page; empty where the matrix says nothing of it."""
    lines = read()
    files = dict.fromkeys(line["file"] for line in lines if line["defence"] == name)
    parts = [of_file([line for line in lines if line["file"] == file], name) for file in files]
    intro = (
        "Beside a plainly trained network with nothing around it, in the [matrix of all defences](../benchmarks.md). Networks and pictures are "
        "small: this shows what an attacker makes of it, not how robust anything of use is."
    )
    parts = [of_file([line for line in lines if line["file"] == file], name) for file in files]
    intro = (
        "Beside the same network undefended, in the [matrix of all defences](../benchmarks.md). Networks and pictures are small: this shows what an "
        "attacker makes of it, not how robust anything of use is."
    )
    return "\n\n".join(["## Measured", intro, *parts]) if parts else ""


def read() -> list[Line]:
    """All lines that are kept."""
    if not MATRIX.is_file():
        return []
    with MATRIX.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of_file(lines: list[Line], name: str) -> str:
    """What one campaign file measured of it."""
    mine = [line for line in lines if line["defence"] == name]
    bare = {line["attack"]: line for line in lines if line["defence"] == BARE}
    whole = mine[0]
    head = ["attack", "undefended", "made for the network without it", "made for it"]
    rows = ([_attack(line), share(bare.get(line["attack"]), "adaptive"), share(line, "naive"), share(line, "adaptive")] for line in mine)
    told = [_setting(whole), _robust(whole, bare[WHOLE]), f"**{verdict(whole, bare[WHOLE])}**", _costs(whole), _apart(name), _doubts(whole)]
    return " ".join(t for t in told if t) + "\n\nRows that fall:\n\n" + table(head, rows).rstrip()


def verdict(line: Line, bare: Line) -> str:
    """What it comes to, where intervals part; both are of shares that fell to every attack together."""
    low, high = float(line["adaptive_low"]), float(line["adaptive_high"])
    lost = bool(line["naive"]) and float(line["naive_high"]) < min(low, float(bare["adaptive_low"]))
    if high < float(bare["adaptive_low"]):
        return "It withstands more than the undefended network does."
    if low > float(bare["adaptive_high"]):
        return "It withstands less than the undefended network does."
    if lost:
        return "Against an attacker that does not know of it, it seems to help; against one that does, it buys nothing that so many rows can tell."
    return "It buys nothing that so many rows can tell."


def share(line: Line | None, side: str) -> str:
    """A share that fell with its interval, in per cent."""
    if line is None or not line[side]:
        return ""
    low, high = (round(100 * float(line[f"{side}_{end}"])) for end in ("low", "high"))
    return f"{float(line[side]):.0%} ({low} to {high})"


def _setting(line: Line) -> str:
    others = [f"[{name}](../defences/{name}.md)" for name in line["wears"].split(", ") if name not in ("", line["defence"])]
    behind = f", with {' and '.join(others)}" if others else ""
    chosen = f", {line['settings']}" if line["settings"] else ""
    return f"On {line['data']}, {line['threat']}, {line['rows']} rows{behind}{chosen}:"


def _robust(line: Line, bare: Line) -> str:
    """Robust and clean accuracy, with and without it."""
    stood, before = (f"{1 - float(found['adaptive']):.0%}" for found in (line, bare))
    naive = f", {1 - float(line['naive']):.0%} against one made for the network without it" if line["naive"] else ""
    rejected = f", and {float(line['rejected']):.0%} of clean rows are rejected" if line["rejected"] else ""
    stand = "are answered rightly or rejected" if line["rejected"] else "stand"
    clean = f"Clean accuracy is {float(line['clean']):.0%}, undefended {float(bare['clean']):.0%}{rejected}."
    return f"{stood} of the rows {stand} under every attack made for it{naive}; undefended {before}. {clean}"


def _costs(line: Line) -> str:
    """What training and answering cost; an answer only where something stands around the network, and beyond the noise of a clock."""
    training = [f"A step of training takes {float(line['training']):.1f} times as long as a plain one."] if line["training"] else []
    answer, around = float(line["inference"]), line["wears"] != line["defence"] or not line["training"]
    return " ".join([*training, *([f"An answer takes some {answer:.1f} times as long."] if around and answer >= SLOW else [])])


def _apart(name: str) -> str:
    """What a way of training is made for, where that does not stand around the network here."""
    smooths = name in METHODS and METHODS[name].facts.measure is right_under_noise
    return (
        "It is made for [randomised smoothing](../defences/randomised-smoothing.md), which does not stand around it here."
        if smooths
        else ""
    )


def _doubts(line: Line) -> str:
    named = [f"[{name}](../doubts.md#{name})" for name in line["doubts"].split()]
    return f"In doubt: {', '.join(named)}." if named else ""


def _attack(line: Line) -> str:
    name = line["attack"]
    return "every attack together" if name == WHOLE else f"[{name}](../attacks/{name}.md)"
