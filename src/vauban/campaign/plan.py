"""A campaign, ready to run: every part loaded, every setting bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vauban.attacks import Attack
from vauban.campaign.budget import check_budget
from vauban.campaign.record import Promise
from vauban.data import Rows
from vauban.errors import BadPlan
from vauban.target import Surrogate, Target
from vauban.threat import Threat


@dataclass(frozen=True)
class Siege:
    """One threat and the attacks that act under it, in order: they share one oracle, so each works on what the ones before it left.

    Attributes:
        curve: whether minimum-norm attacks go on with broken rows too, which gives robust accuracy against eps.
        surrogate: what gradients are taken from; None for the target's own.
        radii: the radii of that curve; by default a grid up to twice the threat's own radius.
        session, day: questions that the service under attack lets pass in a session, and from a device in a day: for what the attack would cost in
            identities.
        samples: inputs and classes of the attacker's own (m, *shape) and (m,).

    Raises:
        BadPlan: radii that are not positive numbers, each larger than the one before it; or radii and no curve; or a budget with which an
            attack could do nothing.
    """

    threat: Threat
    attacks: tuple[Attack, ...]
    curve: bool = True
    surrogate: Surrogate | None = None
    radii: tuple[float, ...] = ()
    session: int = 5
    day: int = 10
    samples: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        check_budget(self.threat, self.attacks, self.surrogate)
        for before, radius in zip((0.0, *self.radii), self.radii, strict=False):
            if radius == before and before:
                raise BadPlan(f"threat {self.threat.name!r}: the radius {radius:g} stands twice in radii; name each once")
            if not before < radius < math.inf:
                raise BadPlan(f"threat {self.threat.name!r}: radii must be positive and ascending, and {radius:g} follows {before:g}")
        if self.radii and not (self.curve and any(a.facts.minimal and a.everyone for a in self.attacks)):
            raise BadPlan(
                f"threat {self.threat.name!r}: radii are of the curve, which needs curve = true and a minimum-norm attack, such as fmn or ddn"
            )


@dataclass(frozen=True)
class Plan:
    """A whole campaign.

    Attributes:
        title: what the report is headed with.
        target, data: who is attacked, on what.
        sieges: the threats with their attacks.
        promises: what the owner promised for them.
        seed: of all random numbers.
        chunk: rows in one unit of work: what an interrupted run repeats at most.
        max_rows: rows in one forward pass; None lets the oracle choose.
        keep_inputs: whether adversarial examples and a gallery are kept in the run folder.
        resolved: the plan in plain values, as recorded and hashed.
        source: the file it was read from, if any; errors and reports name it.
    """

    title: str
    target: Target
    data: Rows
    sieges: tuple[Siege, ...]
    promises: tuple[Promise, ...] = ()
    seed: int = 0
    chunk: int = 250
    max_rows: int | None = None
    keep_inputs: bool = True
    resolved: dict[str, object] = field(default_factory=dict[str, object])
    source: Path | None = None
