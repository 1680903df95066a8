"""A matrix of defences as a page, and as a table in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vauban.campaign.matrix.front import advice
from vauban.campaign.matrix.result import Hit, Line, Matrix, Stand
from vauban.campaign.record import write_atomically
from vauban.measure.rate import Rate
from vauban.report.figures import defences
from vauban.report.html import environment
from vauban.report.numbers import interval, percent
from vauban.version import __version__


def write_page(matrix: Matrix, folder: Path) -> None:
    """Write matrix.html, whole or not at all."""
    write_atomically(folder / "matrix.html", page(matrix))


def page(matrix: Matrix) -> str:
    """The page of a matrix as text."""
    told = advice(matrix)
    made = environment()
    made.filters["bytes"] = size
    return made.get_template("matrix.html.j2").render(
        matrix=matrix,
        advice=told,
        version=__version__,
        rows={t: [(line, s) for line in matrix.measured for s in line.stands if s.threat == t] for t in matrix.threats},
        columns={t: columns(matrix, t) for t in matrix.threats},
        certified={t: any(s.certified for line in matrix.measured for s in line.stands if s.threat == t) for t in matrix.threats},
        plots={t: defences(matrix, t, told.front) for t in matrix.threats},
        hit=hit,
        blind=lambda stand: any(h.naive is not None for h in stand.hits),
    )


def columns(matrix: Matrix, threat: str) -> list[str]:
    """The attacks that acted under a threat, in the order of the file."""
    acted = {h.attack for line in matrix.measured for s in line.stands if s.threat == threat for h in s.hits}
    return [a for a in matrix.attacks if a in acted]


def hit(stand: Stand, attack: str) -> Hit | None:
    """What one attack did, if it acted."""
    return next((h for h in stand.hits if h.attack == attack), None)


def heads(matrix: Matrix) -> list[str]:
    """The columns of the table in a terminal."""
    several = len(matrix.threats) > 1
    told = [f">{t + ' ' if several else ''}{what}" for t in matrix.threats for what in ("naive", "robust")]
    return ["defence", ">clean", *told, ">training", ">answer"]


def cells(matrix: Matrix, line: Line, front: Sequence[str]) -> list[str]:
    """One line of it; what stands on the front is marked with a star."""
    name = f"{line.label} *" if line.label in front else line.label
    if line.failed:
        return [f"{name}\n{line.failed}", *["-"] * (2 + 2 * len(matrix.threats) + 1)]
    stands = [text for s in line.stands for text in (_rate(s.naive), _rate(s.robust) + ("\nin doubt" if s.doubts else ""))]
    training = "-" if line.training is None else f"x {line.training:.1f}"
    return [name, _rate(line.clean), *stands, training, f"x {line.inference:.1f}"]


def _rate(rate: Rate | None) -> str:
    return "-" if rate is None or not rate.rows else f"{percent(rate.value)}\n{interval(rate, '-')}"


def size(count: int) -> str:
    """Bytes in a unit that people read.

    >>> size(900), size(2_500_000)
    ('900 B', '2.5 MB')
    """
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= worth:
            return f"{count / worth:.3g} {unit}"
    return f"{count} B"
