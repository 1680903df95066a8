"""Numbers as people write them: "8/255" is a fraction, read exactly and shown as it was meant."""

from __future__ import annotations

import math
from fractions import Fraction

from vauban.errors import BadPlan


def exact(value: float | str | Fraction, what: str = "a number") -> float:
    """The double nearest to what was written. Fractions ("8/255") are evaluated exactly before rounding; numbers of arrays are taken too.

    >>> exact("8/255") == 8 / 255
    True
    >>> exact("inf")
    inf
    """
    if isinstance(value, bool):
        raise BadPlan(f'{what} = {value} must be a number or a fraction such as "8/255"')
    try:
        number = float(Fraction(value)) if isinstance(value, str | Fraction) and value != "inf" else float(value)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise BadPlan(f'{what} = {value!r} must be a number or a fraction such as "8/255"') from error
    if math.isnan(number):
        raise BadPlan(f'{what} is NaN; it must be a number or a fraction such as "8/255"')
    return number


def written(value: float) -> str:
    """A number as a person would write it: as n/255 where it is exactly that.

    >>> written(8 / 255), written(0.3), written(float("inf")), written(1.0)
    ('8/255', '0.3', 'inf', '1')
    """
    if math.isfinite(value) and value % 1:
        pixels = round(value * 255)
        if pixels / 255 == value and pixels % 51:
            return f"{pixels}/255"
    return f"{value:g}"
