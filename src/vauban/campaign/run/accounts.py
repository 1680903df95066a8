"""The query ledger of a threat, added up over its rows."""

from __future__ import annotations

import numpy as np

from vauban.attacks.registry import Facts
from vauban.campaign.ledger import Ledger
from vauban.campaign.plan import Siege
from vauban.campaign.run.tally import Tally
from vauban.doors import KINDS
from vauban.measure.rate import Rate
from vauban.threat import Access, Threat

MARKS = tuple(m * 10**e for e in range(7) for m in (1, 2, 5))
"""Numbers of questions at which success is told."""


def ledger(siege: Siege, done: Tally) -> Ledger | None:
    """What the attacker's questions came to; None where it holds the model itself, or has nothing to attack."""
    if siege.threat.access >= Access.GRADIENT or not done.attacked.any():
        return None
    if siege.surrogate is not None:
        siege.surrogate.ready()
    won = done.broken & done.attacked
    spent = np.where(won, done.first, done.queries)[done.attacked]
    first = np.sort(done.first[won])
    rows = len(spent)
    most = max(int(spent.max()), 1)
    marks = (*(m for m in MARKS if m < most), most)
    middle = (rows - 1) // 2
    return Ledger(
        rows,
        int(done.queries[done.attacked].sum()),
        dict(zip(KINDS, done.kinds[done.attacked].sum(0).tolist(), strict=True)),
        int(done.refused[done.attacked].sum()),
        marks,
        tuple(Rate(int((first <= m).sum()), rows) for m in marks),
        int(spent.sum()),
        int(first[middle]) if middle < len(first) else None,
        siege.session,
        siege.day,
        0 if siege.surrogate is None else siege.surrogate.asked,
    )


def rung(facts: Facts, threat: Threat) -> str:
    """Where on the ladder of an attacker without the model an attack stands, by what it needs; nothing where the attacker holds the model."""
    if threat.access >= Access.GRADIENT or facts.proof:
        return ""
    if facts.prior:
        return "surrogate and scores"
    if facts.baseline or facts.access == Access.NONE:
        return "baselines"
    return {Access.GRADIENT: "transfer", Access.SCORE: "scores", Access.LABEL: "labels"}[facts.access]
