"""The norms that a change is measured in, by name and by order."""

from __future__ import annotations

import math
from fractions import Fraction

from vauban.errors import BadPlan, nearest

INF = math.inf
NORMS: dict[str, float] = {"linf": INF, "l2": 2.0, "l1": 1.0, "l0": 0.0}

Number = float | str | Fraction


def norm_of(word: float | str) -> float:
    """The order p of a norm from its name ("linf", "l2", "l1", "l0") or number."""
    if isinstance(word, str):
        if word.lower() not in NORMS:
            raise BadPlan(f"norm = {word!r} is not a norm; {nearest(word.lower(), NORMS)}")
        return NORMS[word.lower()]
    if word not in NORMS.values():
        raise BadPlan(f"norm = {word!r} is not a norm; it is one of inf, 2, 1, 0")
    return float(word)
