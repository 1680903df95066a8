"""One attacker: what it knows, wants, may do and may spend."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vauban.errors import BadPlan
from vauban.threat.access import Access
from vauban.threat.goal import Goal
from vauban.threat.perturbation import Ball, Perturbation


@dataclass(frozen=True, slots=True)
class Threat:
    """One attacker. Every number Vauban reports stands under one of these.

    Attributes:
        name: what the report calls it.
        perturbation: what it may do to an input.
        access: what it sees of the target.
        goal: what it wants.
        queries: how many inputs it may have answered, for each row; inf for no limit.
        gradients: how many gradients of the target it may take, for each row; inf for no limit.
        seconds: how long the whole campaign under this threat may run; a limit that is hit is reported as a doubt.

    >>> Threat("insider", Ball("8/255")).text()
    'gradient access, Linf within 8/255, any wrong class'
    """

    name: str
    perturbation: Perturbation
    access: Access = Access.GRADIENT
    goal: Goal = field(default_factory=Goal)
    queries: float = math.inf
    gradients: float = math.inf
    seconds: float = math.inf

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise BadPlan("a threat needs a name")
        for what in ("queries", "gradients"):
            value: float = getattr(self, what)
            if value < 0 or (math.isfinite(value) and value != int(value)):
                raise BadPlan(f"threat {self.name!r}: {what} = {value:g} must be a whole number, 0 or more")
        if not self.seconds > 0:
            raise BadPlan(f"threat {self.name!r}: seconds = {self.seconds:g} must be positive")

    @property
    def ball(self) -> Ball:
        """The Lp ball, where the perturbation is one; raises `BadPlan` otherwise."""
        if not isinstance(self.perturbation, Ball):
            raise BadPlan(f"threat {self.name!r} allows {self.perturbation.kind}, not an Lp ball")
        return self.perturbation

    def text(self) -> str:
        spend = [f"{getattr(self, what):g} {what} a row" for what in ("queries", "gradients") if math.isfinite(getattr(self, what))]
        return ", ".join([f"{self.access.name.lower()} access", self.perturbation.text(), self.goal.text(), *spend])
