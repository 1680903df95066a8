"""A test that may be looked at after any number of votes: evidence that the share of a class is above a bar, or below it.

A gambler who starts with 1 and bets on every vote at the odds of the hypothesis "the share is at most p0" cannot be expected to win; that the
fortune ever reaches 1/alpha has a chance of at most alpha (Ville 1939). This gambler bets as if the share were drawn from a Beta(1/2, 1/2)
cut off at p0, which needs no guess of it (a mixture; Robbins 1970; Waudby-Smith and Ramdas 2024, arXiv:2010.09686). So sampling may stop as
soon as the question is answered, and the statement still fails with chance alpha at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

FIRST, GROWTH = 32, 1.1
"""Votes are looked at when there are 32, and whenever there are a tenth more."""
ROUNDING = 1e-6
"""By how much the logarithm of the evidence must exceed the bar: a thousand times what the gamma function of a million is off by."""


def log_evidence(votes: int, samples: int, bar: float) -> float:
    """The logarithm of the fortune after `votes` of `samples`, betting that the share is above `bar`, a number in (0, 1).

    Evidence that the share is below the bar is that of the other votes for a share above 1 - bar.

    >>> log_evidence(60, 64, 0.6) > math.log(1000) > 0 > log_evidence(20, 64, 0.6)
    True
    """
    from scipy.special import betainc

    a, b = votes + 0.5, samples - votes + 0.5
    above = float(betainc(b, a, 1 - bar))
    if above <= 0:
        return -math.inf
    prior = math.log(math.pi) + math.log(betainc(0.5, 0.5, 1 - bar))
    mixture = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b) + math.log(above)
    return mixture - prior - votes * math.log(bar) - (samples - votes) * math.log1p(-bar)


@dataclass(frozen=True)
class Boundary:
    """When the question "is the share above the bar?" is answered.

    Attributes:
        peeks: after how many samples the votes are looked at, ascending.
        enough: for each, the least votes that prove it; one more than there are samples where none do.
        hopeless: for each, the most votes that prove the opposite; -1 where none do.
    """

    peeks: tuple[int, ...]
    enough: tuple[int, ...]
    hopeless: tuple[int, ...]

    @property
    def possible(self) -> bool:
        """Whether any number of votes would do."""
        return self.enough[-1] <= self.peeks[-1]

    @property
    def misses(self) -> int:
        """With more votes than so many against it, it cannot be proven any more within the last peek."""
        return self.peeks[-1] - self.enough[-1]

    def prospect(self, votes: int, samples: int) -> float:
        """The chance that the last peek proves it or its opposite, foretold from the votes so far.

        The votes to come follow from these and Jeffreys' prior (a beta-binomial; predictive power, Spiegelhalter, Freedman and Blackburn
        1986), here as a normal distribution of that mean and variance. It decides when to give up, which claims nothing: no matter how far
        off it is, nothing false is certified because of it.

        >>> boundary_of(0.9, 0.001, 10_000).prospect(4500, 5000) < 0.001 < 0.9 < boundary_of(0.9, 0.001, 10_000).prospect(4700, 5000)
        True
        """
        left = self.peeks[-1] - samples
        share = (votes + 0.5) / (samples + 1)
        wide = math.sqrt(2 * max(left, 1) * share * (1 - share) * (1 + left / (samples + 1)))
        proven = math.erfc((self.enough[-1] - votes - left * share) / wide)
        refuted = math.erfc((votes + left * share - self.hopeless[-1]) / wide)
        return (proven + refuted) / 2


def peeks_of(most: int) -> tuple[int, ...]:
    """32, and a tenth more each time, up to `most`.

    >>> peeks_of(50)
    (32, 36, 39, 43, 47, 50)
    """
    found, value = [min(FIRST, most)], float(FIRST)
    while found[-1] < most:
        value *= GROWTH
        found.append(min(max(math.ceil(value), found[-1] + 1), most))
    return tuple(found)


@lru_cache(maxsize=256)
def boundary_of(bar: float, alpha: float, most: int) -> Boundary:
    """The answers for a bar in (0, 1), each wrong with chance at most alpha, with at most so many samples."""
    peeks, enough, hopeless = peeks_of(most), list[int](), list[int]()
    at_least = math.log(1 / alpha) + ROUNDING
    above = below = 0.0
    for n in peeks:
        up = _least(lambda v, n=n: log_evidence(v, n, bar) >= at_least, round(n * bar + above * math.sqrt(n)), n)
        down = n - _least(lambda v, n=n: log_evidence(v, n, 1 - bar) >= at_least, round(n * (1 - bar) + below * math.sqrt(n)), n)
        above, below = (up - n * bar) / math.sqrt(n), (n - down - n * (1 - bar)) / math.sqrt(n)
        enough.append(up)
        hopeless.append(down)
    return Boundary(peeks, tuple(enough), tuple(hopeless))


def _least(test: Callable[[int], bool], guess: int, n: int) -> int:
    """The least number in [0, n] that passes a test which all larger ones pass; n + 1 where none does. Looked for around a guess."""
    low, high, step = min(max(guess, 0), n), min(max(guess, 0), n), 1
    while low >= 0 and test(low):
        low, high, step = low - step, low, 2 * step
    step = 1
    while high <= n and not test(high):
        low, high, step = high, high + step, 2 * step
    low, high = max(low, -1), min(high, n + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle, high)
    return high


def fewest(bar: float, alpha: float) -> int:
    """The fewest samples that can prove a share above the bar, when all of them vote for it.

    >>> fewest(0.5, 0.001) < fewest(0.9, 0.001) < fewest(0.99, 0.001)
    True
    """
    at_least, top = math.log(1 / alpha) + ROUNDING, 1
    while log_evidence(top, top, bar) < at_least:
        top *= 2
    return _least(lambda n: n > 0 and log_evidence(n, n, bar) >= at_least, top, top)
