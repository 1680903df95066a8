"""The finding of one threat against a target of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch

from vauban.campaign.cards import ThreatCard
from vauban.campaign.doubts import Scene
from vauban.campaign.doubts.evidence import access_not_used, time_limit, too_few_rows, unverified
from vauban.campaign.plan import Plan
from vauban.campaign.record import Curve, Doubt, Finding, Promise, pack_bits, pack_ids
from vauban.campaign.run.accounts import ledger
from vauban.campaign.run.finding import anytime, attack_results, by_values, confusion, denominator
from vauban.campaign.text.siege import Fought, radii
from vauban.campaign.text.worth import validity
from vauban.data import Rows
from vauban.measure.rate import Rate
from vauban.target import Target
from vauban.threat import Threat

SAMPLE = 16
"""Clean texts that are asked about again for the doubts."""


def finding(fought: Fought, names: Sequence[str], promises: tuple[Promise, ...], behind: str = "") -> Finding:
    """The finding of a threat.

    Args:
        names: of the classes.
        promises: what the owner promised; a doubt needs to know.
        behind: what stands in front of the model, in words.
    """
    siege, done = fought.siege, fought.done
    attacks = attack_results(siege, done)
    scene = Scene(
        # these doubters read the promises alone; a plan of texts has neither rows nor a target of tensors
        Plan("", cast("Target", None), cast("Rows", None), (siege,), promises), siege, done.row, done.label, done.answer, done.eligible,
        done.attacked, done.correct, done.broken, done.distance, done.by, done.first, done.queries, attacks, done.robust,
        int(done.nonfinite.sum()), 0, int(done.unverified.sum()),
    )  # fmt: skip
    return Finding(
        threat_card(siege.threat, names, behind),
        done.robust,
        done.clean,
        denominator(siege.threat.goal, names),
        attacks,
        Curve(grid := radii(siege), tuple(Rate(int((done.distance[done.eligible] > r).sum()), done.robust.rows) for r in grid)),
        by_values(done, done.label, list(range(len(names))), names),
        () if done.groups is None else by_values(done, _array(done.groups), *[sorted(set(done.groups))] * 2),
        confusion(done, len(names)),
        unverified=int(done.unverified.sum()),
        rows=pack_ids(done.row[done.eligible].tolist()),
        held=pack_bits(done.standing[done.eligible].tolist()),
        doubts=doubts(scene, fought),
        seconds=done.chunks[0].seconds,
        anytime=anytime(done),
        ledger=ledger(siege, done),
        validity=validity(fought),
    )


def threat_card(threat: Threat, names: Sequence[str], behind: str) -> ThreatCard:
    """A threat in plain values."""
    allowed = threat.perturbation

    def limit(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return ThreatCard(
        threat.name, f"{threat.text()}{behind}", threat.access.name.lower(), allowed.kind, allowed.eps, threat.goal.text(names),
        threat.goal.untargeted, limit(threat.queries), limit(threat.gradients), limit(threat.seconds), allowed=allowed.text(),
    )  # fmt: skip


def doubts(scene: Scene, fought: Fought) -> tuple[Doubt, ...]:
    """Reasons not to take the number at face value."""
    if not scene.robust.rows:
        return ()
    found = [*_answers(fought), _nonfinite(scene), *(d(scene) for d in (access_not_used, too_few_rows, time_limit, unverified))]
    return tuple(d for d in found if d is not None)


def _nonfinite(scene: Scene) -> Doubt | None:
    if not scene.nonfinite:
        return None
    return Doubt("not-a-number", f"{scene.nonfinite} rows got scores that are NaN or infinite, which never count as a success")


def _answers(fought: Fought) -> list[Doubt]:
    """Signs that an answer is not one to the text alone: others when asked twice, or in other company."""
    texts, referee = list(fought.oracle.texts[:SAMPLE]), fought.oracle.referee
    first, second = (referee.scores(texts).nan_to_num() for _ in range(2))
    alone = torch.cat([referee.scores([t]) for t in texts]).nan_to_num()
    spread = first.std().clamp_min(1e-12)
    moved = int((((first - second).abs() / spread).amax(1) > 1e-6).sum())
    if moved:
        return [Doubt("not-deterministic", f"{moved} of {len(texts)} sampled texts got other scores when asked twice")]
    moved = int((((first - alone).abs() / spread).amax(1) > 1e-3).sum())
    return [Doubt("batch-dependent", f"{moved} of {len(texts)} sampled texts get other scores alone than in a batch")] if moved else []


def _array(groups: Sequence[str]) -> object:
    import numpy as np

    return np.array(groups)
