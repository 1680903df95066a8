"""Did two runs differ on the same rows?"""

from __future__ import annotations

from fractions import Fraction


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar test: the chance of so uneven a split of the rows on which two runs disagree.

    Args:
        only_first: rows that hold in the first run alone.
        only_second: rows that hold in the second run alone.

    Returns:
        The p-value of a fair coin, twice the smaller binomial tail, at most 1.

    >>> mcnemar(10, 2)
    0.03857421875
    """
    n, k = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 0
    for i in range(k + 1):
        tail += ways
        ways = ways * (n - i) // (i + 1)
    return float(min(Fraction(2 * tail, 2**n), 1))
