"""Numbers as every report writes them: shares, intervals, sizes, passes and times."""

from __future__ import annotations

import math
import re
from hashlib import sha256

from vauban.campaign.cards import ThreatCard
from vauban.campaign.record import AttackResult
from vauban.measure.rate import Rate
from vauban.threat import written

NOTHING = "-"
"""Stands where there is no number."""


def tidy(text: str) -> str:
    """Text on one line without control characters, so that a name in a record can move no cursor and break no XML.

    >>> tidy("two\\nlines \\x1b[31mred")
    'two lines [31mred'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)


def slug(name: str) -> str:
    """A name as part of an address: letters, digits and dashes; names that differ only in other signs keep apart by a short hash.

    >>> slug("insider"), slug("a & b") == slug("a | b")
    ('insider', False)
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain if plain == name else f"{plain or 'x'}-{sha256(name.encode()).hexdigest()[:6]}"


def percent(value: float, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage, "-" where it is NaN.

    >>> percent(0.5423), percent(float("nan"))
    ('54.2%', '-')
    """
    return f"{value:.{digits}%}" if math.isfinite(value) else NOTHING


def interval(rate: Rate, join: str = " to ") -> str:
    """The interval of a rate in percent, without the sign: "49.6 to 58.3"."""
    if not rate.rows:
        return NOTHING
    low, high = rate.interval
    return f"{100 * low:.1f}{join}{100 * high:.1f}"


def number(value: float | None, digits: int = 3) -> str:
    """A measured number to a few significant digits, "-" where there is none.

    >>> number(0.031372), number(1234.5), number(None)
    ('0.0314', '1,234', '-')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def passes(value: float) -> str:
    """Passes of the model per row: whole where they are many, else one decimal.

    >>> passes(40.0), passes(1203.4), passes(2.25)
    ('40', '1,203', '2.2')
    """
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def time(seconds: float) -> str:
    """A duration a person can take in.

    >>> time(0.42), time(75), time(7300)
    ('0.42 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def radius(threat: ThreatCard) -> str:
    """The threat's eps as a person would write it ("8/255")."""
    return written(threat.radius)


def unit(threat: ThreatCard) -> str:
    """What the sizes of changes are counted in, where it is not the inputs' own scale: "pixel", or nothing."""
    return "pixel" if threat.perturbation in ("pixels", "patch") else ""


def success(attack: AttackResult) -> Rate:
    """What an attack broke, of the rows it tried."""
    return Rate(attack.broken, attack.tried)


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and math.isfinite(value) else None
