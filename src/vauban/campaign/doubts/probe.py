"""A small sample of the rows, attacked anew outside the cascade, so that attacks can be compared on the same rows. Charged to nobody."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vauban.attacks import Attack, find
from vauban.attacks.parts.losses import LossName
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.doubts.trace import Trace, trace
from vauban.campaign.owed import NAIVE
from vauban.doors import Oracle
from vauban.geometry import body_of
from vauban.noise import RowNoise
from vauban.target import Surrogate, default_surrogate
from vauban.threat import INF, Access, Ball, Threat

SAMPLE = 64
"""Rows in the sample: the first ones that can be attacked. Enough to tell broken gradients from sound ones at a tenth of an audit's cost."""
HELD = 32
"""Rows of it that withstood the campaign and are attacked once more."""
SHORT = 20
"""Steps that show how an attack sets out."""
NEAREST = 8
"""Of these, the rows that came nearest to falling, on which long attacks are tried."""
MANY = {"l0": "fmn", "pixels": "fmn", "patch": "patch-pgd"}
"""The many-step attack of a kind of perturbation, where it is not PGD."""
CLIMBS = ("pgd", "patch-pgd")
"""Those with the settings of PGD."""
LEAD: LossName = "selective"
"""What climbs raise where the campaign does not say: the margin; where the target can reject, first a wrong answer, then one that is accepted.
The margin itself turns back there at a refusal that lies on the way."""


class Probe:
    """What single attacks, each alone on fresh ground, do to the sample. Every run happens once, when first asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.plan, self.siege = scene, scene.plan, scene.siege
        wanted = scene.rows[scene.attacked][: 0 if self.plan.target.metered else SAMPLE]
        ids = self.plan.data.ids
        self.places = torch.isin(ids, torch.from_numpy(wanted)).nonzero()[:, 0]
        self.x, self.y, self.ids = self.plan.data.x[self.places], self.plan.data.y[self.places], ids[self.places]
        self._tried = torch.zeros(len(self.places), dtype=torch.bool)
        self._fell = torch.zeros_like(self._tried)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def threat(self) -> Threat:
        """The siege's threat without limits to what may be spent."""
        return replace(self.siege.threat, queries=INF, gradients=INF, seconds=INF)

    @property
    def surrogate(self) -> Surrogate | None:
        """What the siege takes gradients from."""
        return self.siege.surrogate or default_surrogate(self.plan.target)

    @cached_property
    def has_gradient(self) -> bool:
        """Whether this attacker can climb gradients of the target, or of a stand-in made from it, as far as one can tell by the attacks that look
        for doubts: they know no constraints on features, and what they find there counts for nothing."""
        if self.siege.threat.perturbation.kind == "features":
            return False
        return self.surrogate is not None and self.siege.threat.access >= Access.GRADIENT and len(self) > 0

    @cached_property
    def own_gradient(self) -> bool:
        """Whether these gradients claim to be the target's own, rather than those of a stand-in."""
        return self.has_gradient and self.surrogate is self.plan.target

    @cached_property
    def noise(self) -> RowNoise | None:
        """Noise for the sample that is the same each time, where the target draws any."""
        target = self.plan.target
        return RowNoise(self.ids.to(target.device), self.plan.seed, "doubts") if target.randomised else None

    def oracle(self, threat: Threat, rows: Tensor | None = None, surrogate: Surrogate | None = None) -> Oracle:
        """Fresh ground: the sample, or some rows of it. Gradients are the siege's, or those of another surrogate."""
        pick = torch.arange(len(self)) if rows is None else rows
        return Oracle(
            self.plan.target, self.x[pick], self.y[pick], threat,
            surrogate=surrogate or self.siege.surrogate, seed=self.plan.seed, ids=self.ids[pick], max_rows=self.plan.max_rows,
        )  # fmt: skip

    def broken(
        self, attack: Attack, threat: Threat | None = None, rows: Tensor | None = None, surrogate: Surrogate | None = None
    ) -> Tensor:
        """Which rows an attack breaks on its own, bool."""
        o = self.oracle(threat or self.threat, rows, surrogate)
        attack(o)
        return o.outcome.broken.cpu()

    # ---- single attacks on the whole sample -----------------------------------------------------------------------------------------

    @property
    def many_steps(self) -> Attack:
        """The many-step attack of this kind of perturbation, as it comes. Where the target can reject, cross-entropy would be as content with a
        rejection as with a wrong answer."""
        return self.stepping() if self.plan.target.reject is None else self.stepping(loss=LEAD)

    def stepping(self, **settings: Any) -> Attack:
        """The many-step attack of this kind of perturbation with these settings of PGD; where it has none of the kind, with the steps alone."""
        name = MANY.get(self.siege.threat.perturbation.kind, "pgd")
        return find(name).bind(**{k: v for k, v in settings.items() if k == "steps" or name in CLIMBS})

    @cached_property
    def one_step(self) -> Trace:
        return trace(self.oracle(self.threat), find("fgsm").bind())

    def to_many_steps(self, rows: Tensor) -> Tensor:
        """Which of some rows of the sample, bool (n,), the many-step attack breaks. A row is attacked when first asked about."""
        fresh = rows & ~self._tried
        if bool(fresh.any()):
            self._fell[fresh] = self.broken(self.many_steps, rows=fresh.nonzero()[:, 0])
            self._tried = self._tried | fresh
        return self._fell & rows

    @cached_property
    def by_noise(self) -> Tensor:
        return self.broken(find("uniform-noise").bind())

    def fell_to(self, *access: Access) -> Tensor:
        """Rows that fell in the campaign to an attack that asks for exactly this and knows what it attacks, bool."""
        places = [place for place, a in enumerate(self.siege.attacks) if a.facts.access in access and not a.facts.proof and a.name != NAIVE]
        hit = self.scene.rows[np.isin(self.scene.by, places)]
        return torch.isin(self.ids, torch.from_numpy(hit))

    # ---- the rows that withstood ----------------------------------------------------------------------------------------------------

    @cached_property
    def survivors(self) -> Tensor:
        """Places in the sample of the first rows that withstood the whole campaign."""
        fell = torch.isin(self.ids, torch.from_numpy(self.scene.rows[self.scene.broken]))
        return (~fell).nonzero()[:HELD, 0]

    @cached_property
    def longest(self) -> Attack | None:
        """The longest climb of the campaign, from a single start: of its attacks that follow gradients inside a radius the one with most
        steps."""
        found = [a for a in self.siege.attacks if a.facts.access >= Access.GRADIENT and not a.facts.minimal and steps_of(a)]
        longest = max(found, key=steps_of, default=None)
        return None if longest is None else once(longest)

    @property
    def climb(self) -> Attack:
        """The same; PGD on the lead of a wrong answer where the campaign has none."""
        return self.stepping(loss=LEAD) if self.longest is None else self.longest

    @property
    def other_losses(self) -> list[Attack]:
        """Short forms of the campaign's other attacks that follow gradients, one for each objective that the climb does not have."""
        found = {self._objective(a): once(a, SHORT) for a in self.siege.attacks if a.facts.access >= Access.GRADIENT and steps_of(a)}
        return [a for objective, a in found.items() if objective != self._objective(self.climb)]

    def _objective(self, attack: Attack) -> object:
        """What an attack raises, as far as its settings say; attacks that say nothing have one of their own."""
        loss = attack.settings.get("loss", attack.name)
        return "margin" if loss == LEAD and self.plan.target.reject is None else loss

    @cached_property
    def climbed(self) -> Trace:
        """What that climb meets on the survivors."""
        return trace(self.oracle(self.threat, self.survivors), self.climb)

    @cached_property
    def nearest(self) -> Tensor:
        """Places in the sample of the survivors that it brings nearest to falling."""
        best = self.climbed.best
        order = torch.argsort(best[-1], descending=True, stable=True) if len(best) else torch.arange(len(self.survivors))
        return self.survivors[order[:NEAREST]]

    # ---- other threats --------------------------------------------------------------------------------------------------------------

    @property
    def boundless(self) -> Threat | None:
        """The threat with a radius that spans the whole box; None for transformations, whose limits mean something."""
        allowed = self.siege.threat.perturbation
        if not isinstance(allowed, Ball):
            return None
        width, features = body_of(allowed, self.plan.data.x[:1]).width, math.prod(self.plan.data.shape[int(allowed.pixels) :])
        eps = {INF: width, 2.0: width * math.sqrt(features), 1.0: width * features, 0.0: float(features)}[allowed.norm]
        return replace(self.threat, perturbation=replace(allowed, eps=eps))

    @property
    def half(self) -> Threat | None:
        """The threat with half its radius, of which at least one feature must be left; None where it has none."""
        allowed = self.siege.threat.perturbation
        if not isinstance(allowed, Ball) or not math.isfinite(allowed.eps):
            return None
        eps = allowed.eps // 2 if allowed.norm == 0 else allowed.eps / 2
        return replace(self.threat, perturbation=replace(allowed, eps=eps)) if eps else None


def steps_of(attack: Attack) -> int:
    """How many steps its settings say; 0 where they say nothing of steps.

    >>> steps_of(find("pgd").bind(steps=7)), steps_of(find("fgsm").bind())
    (7, 0)
    """
    steps = attack.settings.get("steps")
    return steps if isinstance(steps, int) else 0


def once(attack: Attack, most: int | None = None) -> Attack:
    """The same attack from a single start, towards a single class, searching once; with at most so many steps.

    >>> once(find("pgd").bind(steps=100, restarts=3), 20).settings["steps"]
    20
    """
    single = {name: 1 for name in ("restarts", "targets", "searches") if name in attack.settings}
    fewer = {} if most is None or not steps_of(attack) else {"steps": min(steps_of(attack), most)}
    return find(attack.name).bind(**{**attack.settings, **single, **fewer})


@lru_cache(maxsize=1)
def probe_of(scene: Scene) -> Probe:
    """The probe of a scene, shared by the doubters that look at it one after another."""
    return Probe(scene)
