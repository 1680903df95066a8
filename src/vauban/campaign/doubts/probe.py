"""A small sample of the rows, attacked anew outside the cascade, so that attacks can be compared on the same rows. Charged to nobody."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from vauban.attacks import Attack, find
from vauban.campaign.doubts.scene import Scene
from vauban.doors import Oracle
from vauban.geometry import body_of
from vauban.target import default_surrogate
from vauban.threat import INF, Access, Ball, Threat

SAMPLE = 64
"""Rows in the sample: the first ones that can be attacked. Enough to tell broken gradients from sound ones at a tenth of an audit's cost."""


class Probe:
    """What single attacks, each alone on fresh ground, do to the sample. Every run happens once, when first asked for."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.plan, self.siege = scene, scene.plan, scene.siege
        wanted = scene.rows[scene.attacked][:SAMPLE]
        ids = self.plan.data.ids
        self.places = torch.isin(ids, torch.from_numpy(wanted)).nonzero()[:, 0]
        self.x, self.y, self.ids = self.plan.data.x[self.places], self.plan.data.y[self.places], ids[self.places]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def threat(self) -> Threat:
        """The siege's threat without limits to what may be spent."""
        return replace(self.siege.threat, queries=INF, gradients=INF, seconds=INF)

    @cached_property
    def has_gradient(self) -> bool:
        """Whether this attacker can climb gradients of the target, or of a stand-in made from it."""
        surrogate = self.siege.surrogate or default_surrogate(self.plan.target)
        return surrogate is not None and self.siege.threat.access >= Access.GRADIENT and len(self) > 0

    def oracle(self, threat: Threat, rows: Tensor | None = None) -> Oracle:
        """Fresh ground: the sample, or some rows of it."""
        pick = torch.arange(len(self)) if rows is None else rows
        return Oracle(
            self.plan.target, self.x[pick], self.y[pick], threat,
            surrogate=self.siege.surrogate, seed=self.plan.seed, ids=self.ids[pick], max_rows=self.plan.max_rows,
        )  # fmt: skip

    def broken(self, attack: Attack, threat: Threat | None = None, rows: Tensor | None = None) -> Tensor:
        """Which rows an attack breaks on its own, bool."""
        o = self.oracle(threat or self.threat, rows)
        attack(o)
        return o.outcome.broken.cpu()

    @property
    def many_steps(self) -> Attack:
        """The many-step attack of this kind of perturbation."""
        return find("jsma").bind() if self.siege.threat.perturbation.kind == "l0" else find("pgd").bind()

    @cached_property
    def by_one_step(self) -> Tensor:
        return self.broken(find("fgsm").bind())

    @cached_property
    def by_many_steps(self) -> Tensor:
        return self.broken(self.many_steps)

    @cached_property
    def by_noise(self) -> Tensor:
        return self.broken(find("uniform-noise").bind())

    @cached_property
    def survivors(self) -> Tensor:
        """Places in the sample of the rows that withstood the whole campaign."""
        fell = dict(zip(self.scene.rows.tolist(), self.scene.broken.tolist(), strict=True))
        return torch.tensor([i for i, row in enumerate(self.ids.tolist()) if not fell[row]], dtype=torch.int64)

    @property
    def boundless(self) -> Threat | None:
        """The threat with a radius that spans the whole box; None for transformations, whose limits mean something."""
        allowed = self.siege.threat.perturbation
        if not isinstance(allowed, Ball):
            return None
        width, features = body_of(allowed, self.plan.data.x[:1]).width, math.prod(self.plan.data.shape)
        eps = {INF: width, 2.0: width * math.sqrt(features), 1.0: width * features, 0.0: float(features)}[allowed.norm]
        return replace(self.threat, perturbation=Ball(eps, allowed.norm, allowed.lo, allowed.hi, allowed.mask))


@lru_cache(maxsize=1)
def probe_of(scene: Scene) -> Probe:
    """The probe of a scene, shared by the doubters that look at it one after another."""
    return Probe(scene)
