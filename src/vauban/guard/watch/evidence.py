"""The evidence that near-duplicates of many identities are no chance: an e-value of each cluster, valid at any time.

Every attempt is the seed of a cluster. A cluster of s members is hit by the next attempt of another identity with a chance of at most p = s q,
where q bounds how often two unrelated captures look alike. For a factor t > 1 the product of t ** hit * exp(-(t - 1) p) cannot be expected to
grow, since 1 + (t - 1) p <= exp((t - 1) p); so the sum over all seeds, which bounds the largest cluster, is expected to be at most the number of
attempts, and an alarm at A comes by chance once in A attempts at most (the argument of Shiryaev and Roberts; Shin, Ramdas and Rinaldo 2023,
arXiv:2203.03532). When clusters join, the larger evidence stays, for every seed of both has the same cluster from then on.

The factors are at most 20: one person with several accounts is no chance either, and if at most one in 20 of those who came with k accounts
comes with another one, then an alarm at A is reached by at most one person in A.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

FACTORS = (2.0, 6.0, 20.0)
"""By how much more often a cluster is hit than by chance: the alternatives, weighed alike."""


@dataclass(frozen=True)
class Evidence:
    """Where the evidence of one cluster stands.

    Attributes:
        logs: the logarithm for each alternative.
        size: members.
        upto: how many attempts there were.
    """

    logs: tuple[float, ...]
    size: int
    upto: int

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value: the mean over the alternatives."""
        top = max(self.logs)
        return top + math.log(sum(math.exp(v - top) for v in self.logs) / len(self.logs))

    @classmethod
    def seed(cls, at: int) -> Evidence:
        """One attempt: no evidence."""
        return cls((0.0,) * len(FACTORS), 1, at)

    def after(self, now: int, chance: float, *, hit: bool) -> Evidence:
        """When so many attempts have come, the last of which hit it or did not.

        Args:
            now: how many there were in all.
            chance: q, that two unrelated ones look alike.
            hit: whether the last one is like a member, and of an identity that no member has.
        """
        expected = self.size * chance * max(0, now - self.upto)
        logs = tuple(v - (t - 1) * expected + (math.log(t) if hit else 0.0) for v, t in zip(self.logs, FACTORS, strict=True))
        return Evidence(logs, self.size, now)

    @classmethod
    def joined(cls, parts: Iterable[Evidence], now: int) -> Evidence:
        """One cluster of several and the attempt that joins them."""
        parts = list(parts)
        logs = tuple(max(column) for column in zip(*(p.logs for p in parts), cls.seed(now).logs, strict=True))
        return cls(logs, 1 + sum(p.size for p in parts), now)

    def written(self) -> str:
        """The logarithms as they are stored."""
        return json.dumps([round(v, 9) for v in self.logs])


def read_evidence(logs: str, size: int, upto: int) -> Evidence:
    """Evidence as it was stored."""
    return Evidence(tuple(json.loads(logs)), size, upto)
