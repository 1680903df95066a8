"""What one threat came to, from its finished chunks: the rates, the attacks, the curve, classes, groups and doubts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vauban.campaign.declined import Declined
from vauban.campaign.doubts import Doubter
from vauban.campaign.doubts.scene import Bools
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import Anytime, AttackResult, Curve, Doubt, Finding, Group, pack_bits, pack_ids
from vauban.campaign.run.accounts import ledger, rung
from vauban.campaign.run.besiege import labels_of
from vauban.campaign.run.cards import plain, threat_card
from vauban.campaign.run.chunk import Chunk
from vauban.campaign.run.presented import presented
from vauban.campaign.run.survey import Ground
from vauban.campaign.run.tally import Tally, scene, tally
from vauban.measure.rate import Rate
from vauban.threat import Goal

MOMENTS = 120
"""Points of the curve against passes, at most."""
RADII = 41
"""Radii of the curve; with an odd number the threat's own is one of them, half-way."""


def finding(plan: Plan, siege: Siege, ground: Ground, chunks: Sequence[Chunk], doubters: Sequence[Doubter]) -> Finding:
    """The finding of a threat, from all chunks or from those finished so far."""
    done = tally(ground, chunks)
    attacks = attack_results(siege, done)
    names = class_names(plan, ground)
    return Finding(
        threat_card(siege.threat, plan),
        done.robust,
        done.clean,
        denominator(siege.threat.goal, names),
        attacks,
        curve(siege, done),
        by_values(done, done.label, list(range(len(names))), names),
        () if done.groups is None else by_values(done, np.array(done.groups), *[sorted(set(done.groups))] * 2),
        confusion(done, len(names)),
        _rounding(done),
        int(done.unverified.sum()),
        pack_ids(done.row[done.eligible].tolist()),
        pack_bits(done.standing[done.eligible].tolist()),
        doubts(plan, siege, done, attacks, doubters),
        sum(c.seconds for c in done.chunks),
        done.certified if _proofs_ran(siege, done) else None,
        pack_bits(done.proved[done.eligible].tolist()),
        anytime(done),
        ledger(siege, done),
        presented=presented(siege.threat.goal, ground, done, names),
        declined=declined(siege.threat.goal, plan.target.reject, done),
    )


def declined(goal: Goal, reject: int | None, done: Tally) -> Declined | None:
    """What a rejection cost and what it saved; None where the target has none, or where it is a success."""
    if reject is None or goal.reject_wins or done.declined is None:
        return None
    return Declined(
        Rate(int((done.answer == reject).sum()), len(done.answer)), Rate(int((done.declined & done.standing).sum()), done.robust.hits)
    )


def _proofs_ran(siege: Siege, done: Tally) -> bool:
    """Whether anything was tried to prove rows robust, on this model."""
    places = [p for p, a in enumerate(siege.attacks) if a.facts.proof]
    return any(c.tries[p].ran and not (c.tries[p].stopped and not c.tries[p].proved) for c in done.chunks for p in places)


def denominator(goal: Goal, names: Sequence[str]) -> str:
    """What the denominator is, in words."""
    if goal.untargeted:
        return "all rows"
    sources = f"rows of {', '.join(names[s] if s < len(names) else f'class {s}' for s in goal.sources)}" if goal.sources else "rows"
    return f"{sources} classified correctly and not already as wanted"


def class_names(plan: Plan, ground: Ground) -> tuple[str, ...]:
    """The names of all classes the target has; those without a name by their number."""
    names = plan.data.classes
    return (*names, *(f"class {c}" for c in range(len(names), ground.survey.classes)))


def attack_results(siege: Siege, done: Tally) -> tuple[AttackResult, ...]:
    """What each attack did, added up over the chunks."""
    return tuple(_attack_result(siege, done, place, label) for place, label in enumerate(labels_of(siege.attacks)))


def _attack_result(siege: Siege, done: Tally, place: int, label: str) -> AttackResult:
    attack, tries = siege.attacks[place], [c.tries[place] for c in done.chunks]
    ran = sum(t.ran for t in tries)
    won = done.by == place
    fallen_before = done.broken & (done.by <= place)

    def mean(what: str) -> float:
        return sum(getattr(t, what) for t in tries) / ran if ran else 0.0

    facts = attack.facts
    return AttackResult(
        label,
        facts.name,
        plain(attack.settings),
        facts.summary,
        facts.paper,
        facts.atlas,
        facts.nist,
        sum(t.tried for t in tries),
        int(won.sum()),
        int((done.eligible & ~fallen_before).sum()),
        mean("forwards"),
        mean("backwards"),
        mean("surrogate_forwards"),
        mean("surrogate_backwards"),
        sum(t.seconds for t in tries),
        float(np.median(done.size[won])) if won.any() else None,
        tuple(done.won[won].tolist()),
        max((t.most for t in tries), default=0),
        next((t.stopped for t in tries if t.stopped), ""),
        sum(t.proved for t in tries),
        rung(facts, siege.threat),
    )


def curve(siege: Siege, done: Tally) -> Curve | None:
    """Robust accuracy against eps, where a minimum-norm attack gave rows their distance; up to twice the threat's radius or beyond."""
    minimal = [p for p, a in enumerate(siege.attacks) if a.facts.minimal and a.everyone]
    ran = any(c.tries[p].ran for c in done.chunks for p in minimal)
    distance = done.distance[done.eligible]
    known = distance[np.isfinite(distance)]
    if not siege.curve or not ran or not len(known):
        return None
    eps = siege.threat.perturbation.eps
    top = max(float(np.percentile(known, 95)), 2 * eps if math.isfinite(eps) else 0.0)
    if top == 0:
        return None
    grid: list[float] = np.linspace(0, top, RADII).tolist()
    radii = siege.radii or (sorted({*grid, eps}) if math.isfinite(eps) else grid)
    return Curve(tuple(radii), tuple(Rate(int((distance > r).sum()), len(distance)) for r in radii))


def anytime(done: Tally) -> Anytime | None:
    """Robust accuracy against the passes spent on a row, at every number of passes after which another row fell (thinned to a hundred or so)."""
    rows = int(done.eligible.sum())
    spent = np.sort((done.first + done.taken)[done.eligible & done.broken])
    if not rows:
        return None
    at = np.unique(spent)
    if len(at) > MOMENTS:
        at = np.unique(at[np.linspace(0, len(at) - 1, MOMENTS).round().astype(np.int64)])
    fallen = np.searchsorted(spent, at, side="right")
    return Anytime(tuple(at.tolist()), tuple(Rate(rows - int(f), rows) for f in fallen))


def by_values(done: Tally, key: Any, values: Sequence[Any], names: Sequence[str]) -> tuple[Group, ...]:
    """Clean and robust accuracy over the denominator, for each value of a column."""

    def rate(hits: Bools, rows: Bools) -> Rate:
        return Rate(int((hits & rows).sum()), int(rows.sum()))

    found: list[Group] = []
    for value, name in zip(values, names, strict=True):
        rows = done.eligible & (key == value)
        found.append(Group(name, rate(done.correct, rows), rate(done.standing, rows)))
    return tuple(found)


def confusion(done: Tally, classes: int) -> tuple[tuple[int, ...], ...]:
    """confusion[true][answered] over the denominator, broken rows by their adversarial answer."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (done.label[done.eligible], done.after[done.eligible]), 1)
    return tuple(tuple(row) for row in counts.tolist())


def _rounding(done: Tally) -> Rate | None:
    asked = [r for r in done.rounded if r is not None]
    return Rate(sum(asked), len(asked)) if asked else None


def doubts(plan: Plan, siege: Siege, done: Tally, attacks: tuple[AttackResult, ...], doubters: Sequence[Doubter]) -> tuple[Doubt, ...]:
    """Reasons not to take the number at face value; none where nothing was measured."""
    if not done.robust.rows:
        return ()
    seen = scene(plan, siege, done, attacks)
    return tuple(d for doubter in doubters if (d := doubter(seen)) is not None)
