"""One chunk of rows under one threat: one oracle, the attacks in order, and every example asked again before it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vauban.attacks import Attack
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run.chunk import Chunk, Fate, Try, finite
from vauban.campaign.run.survey import Ground
from vauban.campaign.run.verify import Asker, Held
from vauban.doors import Oracle
from vauban.doors.oracle.entry import Answers

TIME_LIMIT = "time limit"


@dataclass(frozen=True, eq=False)
class Examples:
    """Adversarial inputs that broke rows, as saved: float32 (m, *shape), with row ids, true labels and the target's answers, int64 (m,)."""

    x: Tensor
    row: Tensor
    label: Tensor
    answer: Tensor


@dataclass(frozen=True, eq=False)
class Turn:
    """The accounts of the attacked rows after one attack: distance float64, questions and gradients int64, all (n,) on the CPU."""

    broken: Tensor
    distance: Tensor
    queries: Tensor
    gradients: Tensor

    @classmethod
    def of(cls, oracle: Oracle) -> Turn:
        book = oracle.book
        return cls(book.broken.cpu().clone(), book.distance.cpu().clone(), book.queries.cpu().clone(), book.gradients.cpu().clone())


@dataclass(frozen=True, eq=False)
class Fought:
    """A finished chunk: what the record needs, what the table of rows shows besides, and the examples."""

    chunk: Chunk
    turns: tuple[Turn, ...]
    places: Tensor
    examples: Examples | None
    max_rows: int | None


Told = Callable[[int, Try, int], None]
"""Told after each attack: its place, what it did, and the rows left."""


def labels_of(attacks: Sequence[Attack]) -> tuple[str, ...]:
    """Unique labels, as the oracle gives them: the second PGD is "pgd#2".

    >>> from vauban.attacks import find
    >>> labels_of([find("pgd").bind(), find("fgsm").bind(), find("pgd").bind(steps=100)])
    ('pgd', 'fgsm', 'pgd#2')
    """
    names = [a.name for a in attacks]
    return tuple(n if n not in names[:i] else f"{n}#{names[:i].count(n) + 1}" for i, n in enumerate(names))


def besiege(plan: Plan, siege: Siege, ground: Ground, number: int, *, max_rows: int | None, deadline: float, told: Told) -> Fought:
    """Attack chunk `number` of the rows under a threat.

    Args:
        ground: all rows and their clean answers; rows that cannot be attacked under this goal never reach the oracle.
        max_rows: rows in one forward pass; `Fought.max_rows` says what of it fitted.
        deadline: `time.monotonic()` value after which nothing more is begun.
        told: what to tell after each attack.
    """
    began = time.perf_counter()
    span = slice(number * plan.chunk, (number + 1) * plan.chunk)
    eligible, attacked = (mask[span] for mask in ground.denominator(siege.threat.goal))
    untouched = _untouched(siege, ground, span, eligible, attacked)
    places = attacked.nonzero()[:, 0]
    if not len(places):
        tries = tuple(Try(label) for label in labels_of(siege.attacks))
        return Fought(Chunk(number, tries, untouched, time.perf_counter() - began), (), places, None, max_rows)
    rows = ground.rows.take(places + span.start)
    oracle = Oracle(
        plan.target, rows.x, rows.y, siege.threat, surrogate=siege.surrogate, curve=siege.curve, samples=siege.samples,
        clean=_known(plan, ground, places + span.start), seed=plan.seed, ids=rows.ids, max_rows=max_rows, deadline=deadline,
    )  # fmt: skip
    tries, turns = _attack(oracle, siege, deadline, told)
    fates, examples = _judged(oracle, Asker(oracle, plan, rows.ids, rows.y), turns)
    merged = list(untouched)
    for place, fate in zip(places.tolist(), fates, strict=True):
        merged[place] = fate
    chunks = oracle.referee.chunks
    shrunk = chunks.most if chunks.halved else max_rows
    return Fought(Chunk(number, tries, tuple(merged), time.perf_counter() - began), turns, places, examples, shrunk)


def _known(plan: Plan, ground: Ground, places: Tensor) -> Answers | None:
    """Clean answers that need not be asked for again: where each costs something, or where a guard would know the question."""
    return ground.clean(places) if plan.target.metered or plan.target.refuses else None


def _untouched(siege: Siege, ground: Ground, span: slice, eligible: Tensor, attacked: Tensor) -> tuple[Fate, ...]:
    """The fates of the rows as they stand before any attack: what errs when clean has fallen, where any wrong class will do."""
    found: list[Fate] = []
    answers, ids = ground.answers[span].tolist(), ground.rows.ids[span].tolist()
    for i, row in enumerate(ids):
        in_it, tried = bool(eligible[i]), bool(attacked[i])
        fallen = siege.threat.goal.untargeted and in_it and not tried
        wrong = bool(ground.nonfinite[span][i])
        distance, first = (0.0, 0) if fallen else (None, -1)
        found.append(Fate(row, in_it, tried, fallen, distance=distance, first=first, after=answers[i], nonfinite=wrong, taken=first))
    return tuple(found)


def _attack(oracle: Oracle, siege: Siege, deadline: float, told: Told) -> tuple[tuple[Try, ...], tuple[Turn, ...]]:
    """Run the attacks in order over one oracle."""
    tries: list[Try] = []
    turns: list[Turn] = []
    for place, (attack, label) in enumerate(zip(siege.attacks, labels_of(siege.attacks), strict=True)):
        if time.monotonic() > deadline:
            tries.append(Try(label, stopped=TIME_LIMIT))
            continue
        attack(oracle)
        turns.append(Turn.of(oracle))
        tries.append(_tried(oracle, label, turns))
        told(place, tries[-1], int((oracle.book.eligible & ~oracle.book.broken).sum()))
    return tuple(tries), tuple(turns)


def _tried(oracle: Oracle, label: str, turns: Sequence[Turn]) -> Try:
    attempt, book = oracle.book.attempts[-1], oracle.book
    asked = turns[-1].queries - attempt.start.cpu()
    return Try(
        label,
        int((book.attacked & ~attempt.before).sum()),
        len(attempt.rows),
        attempt.forwards,
        attempt.backwards,
        attempt.surrogate_forwards,
        attempt.surrogate_backwards,
        int(asked.max()),
        attempt.seconds,
        attempt.stopped,
        attempt.proved,
    )


def _judged(oracle: Oracle, asker: Asker, turns: Sequence[Turn]) -> tuple[tuple[Fate, ...], Examples | None]:
    """The fates of the attacked rows, each example asked again, and the examples that count."""
    outcome = oracle.outcome
    held = asker.verified(outcome)
    broken, by = outcome.broken.cpu(), outcome.by.cpu()
    fell = held.fools & broken
    kept = (fell & (by >= 0)).nonzero()[:, 0]
    rounded = asker.rounded(held.x, kept)
    by = torch.where(fell, by, -1)
    first = torch.where(fell, outcome.first.cpu(), -1)
    columns = {
        "row": asker.ids,
        "broken": fell.tolist(),
        "by": by.tolist(),
        "distance": [finite(d) for d in held.distance.tolist()],
        "size": _of_winner([t.distance for t in turns], by, None),
        "first": first.tolist(),
        "won": _of_winner([first - a.start.cpu() for a in oracle.book.attempts], by, -1),
        "queries": outcome.queries.tolist(),
        "gradients": outcome.gradients.tolist(),
        "share": outcome.share.tolist(),
        "after": torch.where(fell, held.answers, outcome.answers.cpu()).tolist(),
        "unverified": (broken & ~fell).tolist(),
        "rounded": [rounded.get(i) for i in range(len(fell))],
        "nonfinite": oracle.book.nonfinite.tolist(),
        "bad_gradient": oracle.book.bad_gradient.tolist(),
        "declined": oracle.book.declined.tolist(),
        "proved": outcome.proved.tolist(),
        "kinds": torch.stack([*outcome.kinds.values()], 1).tolist(),
        "refused": outcome.refused.tolist(),
        "taken": torch.where(fell, outcome.taken.cpu(), -1).tolist(),
    }
    fates = tuple(
        Fate(eligible=True, attacked=True, **dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )
    return fates, _examples(held, asker, kept)


def _of_winner(of_attack: Sequence[Tensor], by: Tensor, nobody: object) -> list[Any]:
    """For each row, the value of the attack that broke it."""
    values = [t.tolist() for t in of_attack]
    return [values[b][i] if b >= 0 else nobody for i, b in enumerate(by.tolist())]


def _examples(held: Held, asker: Asker, kept: Tensor) -> Examples | None:
    if not len(kept):
        return None
    return Examples(held.x[kept].contiguous(), torch.tensor(asker.ids)[kept], asker.labels[kept], held.answers[kept])
