"""How large a share of the input a random search changes at once, as its questions go by."""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal

Schedule = Literal["rescaled", "published"]

MARKS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations, of 10,000, after which the share is halved (Andriushchenko et al. 2020, arXiv:1912.00049, section 5.1)."""


def share(iteration: int, queries: int, first: float, schedule: Schedule) -> float:
    """The share of the input to change in an iteration (0 is the first one after the start): `first`, halved after each mark passed.

    "rescaled" puts the marks at the same shares of `queries` as they are of 10,000; "published" counts iterations as they are, as AutoAttack
    does, so that short searches never come to the small windows.

    >>> share(10, 10_000, 0.8, "rescaled"), share(11, 10_000, 0.8, "rescaled"), share(11, 1000, 0.8, "rescaled")
    (0.8, 0.4, 0.2)
    """
    place = iteration if schedule == "published" else iteration * 10_000 // queries
    return first / 2 ** bisect_left(MARKS, place)
