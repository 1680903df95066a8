"""How long an ensemble may serve: days, questions, and what our own attacks needed to break one like it."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.guard.config.model import Limits, Models

DAY = 86400.0
NEAR = 0.8
"""The share of an allowance at which it is told."""


@dataclass(frozen=True)
class Spent:
    """What an ensemble has used up.

    Attributes:
        days, allowed_days: its age, and what it may be.
        queries, allowed_queries: what it was asked, and what it may be; None where nothing is said.
    """

    days: float
    allowed_days: float
    queries: int
    allowed_queries: int | None

    @property
    def share(self) -> float:
        """The larger of both shares; 1 is all of it."""
        return max(self.days / self.allowed_days, self.queries / self.allowed_queries if self.allowed_queries else 0.0)

    @property
    def overdue(self) -> bool:
        """Whether all of it is used up."""
        return self.share >= 1

    @property
    def near(self) -> bool:
        """Whether nearly all of it is."""
        return self.share >= NEAR

    def text(self) -> str:
        """Such as "12.0 of 90 days, 10,000 questions"."""
        of = f" of {self.allowed_queries:,}" if self.allowed_queries else ""
        return f"{self.days:.1f} of {self.allowed_days:g} days, {self.queries:,}{of} questions"


def allowed_days(models: Models, limits: Limits) -> float:
    """The days that an ensemble may serve: `days`, or fewer where an attacker with `attack_devices` devices would have asked enough by then.

    devices x questions a device may ask a day x days <= `attack_cost`, the questions that our own best attack needed.

    >>> allowed_days(Models(attack_cost=5000, attack_devices=10), Limits())
    50.0
    >>> allowed_days(Models(), Limits()), allowed_days(Models(attack_cost=10**6), Limits())
    (90.0, 90.0)
    """
    if models.attack_cost is None:
        return models.days
    daily = limits.device.count * max(1.0, DAY / limits.device.window)
    return min(models.days, models.attack_cost / (daily * models.attack_devices))


def spent(age: float, queries: int, models: Models, limits: Limits) -> Spent:
    """What was used up by an ensemble that has been live for `age` seconds and was asked `queries` times."""
    return Spent(age / DAY, allowed_days(models, limits), queries, models.queries)
