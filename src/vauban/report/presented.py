"""What a check let pass, before and under attack, as the lines of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vauban.campaign.presented import Presented
from vauban.measure.presentation import Presentation
from vauban.measure.rate import Rate
from vauban.report.numbers import NOTHING, percent

NOTE = (
    "Error rates as in ISO/IEC 30107-3, over all rows, with exact 95% intervals. APCER: the share of a species of attack instruments that passed; "
    "of the worst one, with an interval for the highest of all. BPCER: the share of bona fide rows that did not pass. ACER, the mean of both, "
    "is no measure of the current edition, and is still asked for."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what is measured, on how many rows, and its rate and interval (in percent) before and under attack, as text."""

    name: str
    rows: str
    before: str
    before_interval: str
    under: str
    under_interval: str


def lines(told: Presented) -> tuple[Line, ...]:
    """APCER of every species, of the worst one where there are several, BPCER and ACER."""
    pairs = zip(told.before.species, told.under.species, strict=True)
    rates = [_line(f"APCER {one.name}", one.apcer, two.apcer) for one, two in pairs]
    if len(rates) > 1:
        rates.append(_whole(f"APCER worst ({told.under.worst.name})", told, lambda p: (p.apcer, p.apcer_interval)))
    bona_fide = _line(f"BPCER {told.wanted}", told.before.bpcer, told.under.bpcer)
    if not told.before.bpcer.rows:
        return (*rates, bona_fide)
    return (*rates, bona_fide, _whole("ACER", told, lambda p: (p.acer, p.acer_interval)))


def _line(name: str, before: Rate, under: Rate) -> Line:
    return Line(name, f"{before.rows:,}", *_shown(before), *_shown(under))


def _whole(name: str, told: Presented, of: Callable[[Presentation], tuple[float, tuple[float, float]]]) -> Line:
    parts = [text for value, ends in map(of, (told.before, told.under)) for text in (percent(value), _ends(ends))]
    return Line(name, "", *parts)


def _shown(rate: Rate) -> tuple[str, str]:
    return (percent(rate.value), _ends(rate.interval)) if rate.rows else (NOTHING, "")


def _ends(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"
