"""Replay: what a sealed ensemble says to a picture today, and whether that is what was written down when it decided."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import select

from vauban.errors import BadGuard
from vauban.guard.config.model import Models
from vauban.guard.images import Picture
from vauban.guard.limits.tables import attempts
from vauban.guard.quorum import Ensemble, Verdict
from vauban.guard.storage import Transaction

CLOSE = 1
"""Steps by which a stored score may differ: one lies on an edge between two. None is 0, so those of two votes are two steps apart."""


@dataclass(frozen=True)
class Decision:
    """What was written down of an attempt.

    Attributes:
        ensemble: the id of the ensemble that decided.
        accept: what was decided; the watch may have objected to what the models accepted.
        scores: of each model, quantised.
        flags: what the watch said.
    """

    attempt: int
    ensemble: str
    accept: bool | None
    scores: dict[str, int | None]
    flags: tuple[str, ...]


def decision_of(tx: Transaction, attempt: int) -> Decision:
    """What was written down of an attempt.

    Raises:
        BadGuard: there was no such attempt, or it was never decided.
    """
    row = tx.run(select(attempts).where(attempts.c.id == attempt)).first()
    if row is None:
        raise BadGuard(f"attempt {attempt}: there was none")
    if row.scores is None:
        raise BadGuard(f"attempt {attempt}: was never decided")
    return Decision(attempt, row.ensemble, row.accept, json.loads(row.scores), tuple(json.loads(row.flags or "[]")))


def replayed(ensemble: Ensemble, picture: Picture, models: Models) -> Verdict:
    """What an ensemble says to a picture.

    Raises:
        BadManifest: a file is not what was signed, or a model does not answer as it did.
        GuardDown: too few models answered.
    """
    quorum = ensemble.quorum(models.vote, models.least, max(10.0, models.timeout))
    try:
        return quorum.ask(picture)
    finally:
        quorum.close()


def differs(was: Decision, now: Verdict) -> list[str]:
    """What is otherwise than it was written down: scores by more than a step, or a decision that the models alone do not explain."""
    found = [
        f"model {name} scored {was.scores.get(name)} then, {score} now"
        for name, score in now.scores.items()
        if not _close(was.scores.get(name), score)
    ]
    found += [f"model {name} answered then, and is not in the ensemble" for name in was.scores.keys() - now.scores.keys()]
    if was.accept and not now.accept:
        found.append("it was accepted, and the models reject it")
    if was.accept is False and now.accept and not was.flags:
        found.append("it was rejected, no flag is written down, and the models accept it")
    return found


def _close(was: int | None, now: int | None) -> bool:
    return was == now if was is None or now is None else abs(was - now) <= CLOSE
