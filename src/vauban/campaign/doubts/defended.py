"""Doubts about defended targets: the attacker that knows the defence must not be the weaker one."""

from __future__ import annotations

import numpy as np
import torch

from vauban.campaign.doubts.probe import probe_of
from vauban.campaign.doubts.rivals import beaten
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.owed import NAIVE
from vauban.campaign.record import Doubt
from vauban.target.around import worn_by
from vauban.threat import Access


def adaptive_weaker_than_oblivious(scene: Scene) -> Doubt | None:
    """The attack on the model behind the defence breaks more than those that know the defence (Carlini et al. 2019, arXiv:1902.06705)."""
    worn = worn_by(scene.plan.target)
    places = [p for p, a in enumerate(scene.siege.attacks) if a.name == NAIVE]
    if not worn or not places:
        return None
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    weak = torch.isin(probe.ids, torch.from_numpy(scene.rows[np.isin(scene.by, places)]))
    told = beaten(probe, weak, "the attack that does not know of the defence", probe.fell_to(Access.GRADIENT))
    if told is None:
        return None
    return Doubt(
        "adaptive-weaker-than-oblivious",
        f"{told}: the gradients that stand in for {', '.join(w.name for w in worn)} are not good enough, and its number flatters it",
    )
