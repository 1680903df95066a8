"""A campaign tried on a few rows: does everything run, and how long will the whole take?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.attacks import Attack
from vauban.campaign.plan import Plan, Siege
from vauban.data import Rows
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Target

ROWS = 8
"""Rows that every attack is tried on."""
LOOK = 64
"""Rows that the target is asked about before, to find some that can be attacked."""


@dataclass(frozen=True)
class Look:
    """What the target said to a few clean rows under a threat.

    Attributes:
        asked, correct: how many rows, and how many of them it classified as they are labelled.
        share: the share of all rows that is likely to be attacked.
        rows: those to try attacks on, int64 places in the data.
    """

    asked: int
    correct: int
    share: float
    rows: Tensor


@dataclass(frozen=True)
class Trial:
    """One attack on a few rows.

    Attributes:
        threat, attack: who.
        tried, broken: rows.
        forwards, backwards: passes of the target and of surrogates, mean over the rows.
        seconds: how long the whole campaign would take with this attack, if no row fell before it.
    """

    threat: str
    attack: str
    tried: int
    broken: int
    forwards: float
    backwards: float
    seconds: float


def look_at(plan: Plan, siege: Siege) -> Look:
    """Ask the target about up to 64 rows that the threat's goal concerns, spread over the data.

    Raises:
        BadPlan: the goal leaves no row to attack, or the target classifies none of them rightly.
    """
    concerned = _concerned(plan.data, siege)
    places = concerned[torch.linspace(0, len(concerned) - 1, min(LOOK, len(concerned))).round().long().unique()]
    outcome = _oracle(plan, siege, places).outcome
    attacked = outcome.attacked.cpu()
    if not siege.threat.goal.untargeted and not bool(attacked.any()):
        raise BadPlan(f"none of {len(places)} rows that the goal concerns is classified as it is labelled, so nothing can be attacked")
    share = len(concerned) / len(plan.data) * float(attacked.float().mean())
    return Look(len(places), int(outcome.correct.sum()), share, places[attacked][:ROWS])


def try_attacks(plan: Plan, siege: Siege, look: Look) -> Iterator[Trial]:
    """Every attack of a siege alone on the same few rows; a cascade is quicker, for it goes on with survivors."""
    scale = batch_gain(plan.target, plan.data.x, min(plan.chunk, plan.max_rows or 256)) if len(look.rows) else 1.0
    for attack in siege.attacks if len(look.rows) else ():
        yield _tried(plan, siege, attack, look, scale)


def batch_gain(target: Target, x: Tensor, batch: int) -> float:
    """How much less time a row takes in a full batch than among eight, at most 1: the ratio of the times of a forward pass."""
    few, many = x[:ROWS].to(target.device), x[: max(batch, ROWS)].to(target.device)
    with target.held():
        target.labels(few)
        per_row = [min(_timed(target, part) for _ in range(2)) / len(part) for part in (few, many)]
    return min(1.0, per_row[1] / max(per_row[0], 1e-9))


def _tried(plan: Plan, siege: Siege, attack: Attack, look: Look, scale: float) -> Trial:
    oracle = _oracle(plan, siege, look.rows)
    attack(oracle)
    tried, attempt = len(look.rows), oracle.book.attempts[-1]
    return Trial(
        siege.threat.name,
        attack.name,
        tried,
        int(oracle.outcome.broken.sum()),
        (attempt.forwards + attempt.surrogate_forwards) / tried,
        (attempt.backwards + attempt.surrogate_backwards) / tried,
        attempt.seconds / tried * scale * look.share * len(plan.data),
    )


def _oracle(plan: Plan, siege: Siege, places: Tensor) -> Oracle:
    data = plan.data
    return Oracle(
        plan.target,
        data.x[places],
        data.y[places],
        siege.threat,
        surrogate=siege.surrogate,
        curve=siege.curve,
        seed=plan.seed,
        ids=data.ids[places],
        max_rows=plan.max_rows,
    )


def _concerned(data: Rows, siege: Siege) -> Tensor:
    """Places of the rows whose class the goal concerns; all of them where that leaves none, so that the oracle says what is wrong."""
    goal = siege.threat.goal
    fits = torch.isin(data.y, torch.tensor(goal.sources)) if goal.sources else torch.ones_like(data.y, dtype=torch.bool)
    if isinstance(goal.wanted, int):
        fits &= data.y != goal.wanted
    return fits.nonzero()[:, 0] if bool(fits.any()) else torch.arange(len(data))


def _timed(target: Target, x: Tensor) -> float:
    began = time.perf_counter()
    target.labels(x).cpu()  # an accelerator answers later than it returns
    return time.perf_counter() - began
