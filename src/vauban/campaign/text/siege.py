"""One threat against one target of texts: the attacks in order over one oracle, and the columns that the record is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vauban.attacks import Attack
from vauban.attacks.text import run
from vauban.campaign.plan import Siege
from vauban.campaign.run.besiege import TIME_LIMIT, labels_of
from vauban.campaign.run.chunk import Chunk, Try
from vauban.campaign.run.tally import Tally
from vauban.data.texts import Texts
from vauban.doors.text import TextOracle, TextTarget
from vauban.doors.text.oracle import Settle


@dataclass(frozen=True, eq=False)
class Fought:
    """A threat after the fight: the oracle, the columns, and the adversarial text of each row (its clean one where none is known)."""

    siege: Siege
    oracle: TextOracle
    done: Tally
    adversarial: tuple[str, ...]

    @property
    def target(self) -> TextTarget:
        return self.oracle.target

    @property
    def won(self) -> list[int]:
        """Places of the rows that an attack broke."""
        return np.flatnonzero(self.done.broken & (self.done.by >= 0)).tolist()


def besiege(target: TextTarget, data: Texts, siege: Siege, *, seed: int, max_rows: int) -> Fought:
    """Run the attacks of a threat in order over one oracle."""
    began = time.perf_counter()
    deadline = time.monotonic() + siege.threat.seconds
    settle: Settle = "nearest" if siege.curve else "first"
    oracle = TextOracle(
        target, data.texts, data.y, siege.threat, settle=settle, seed=seed, ids=data.ids, max_rows=max_rows, deadline=deadline
    )
    tries = tuple(_tried(oracle, a, label, deadline) for a, label in zip(siege.attacks, labels_of(siege.attacks), strict=True))
    adversarial = tuple(oracle.kept[int(place)] for place in oracle.book.fell)
    done = _columns(oracle, adversarial, Chunk(0, tries, (), time.perf_counter() - began), data.groups)
    return Fought(siege, oracle, done, adversarial)


def _tried(oracle: TextOracle, attack: Attack, label: str, deadline: float) -> Try:
    if time.monotonic() > deadline:
        return Try(label, stopped=TIME_LIMIT)
    run(attack, oracle)
    attempt, book = oracle.book.attempts[-1], oracle.book
    asked = book.queries - attempt.start
    tried = int((book.attacked & ~attempt.before).sum())
    return Try(
        label, tried, len(attempt.rows), attempt.forwards, attempt.backwards, most=int(asked.max()), seconds=attempt.seconds,
        stopped=attempt.stopped,
    )  # fmt: skip


def _columns(oracle: TextOracle, adversarial: Sequence[str], chunk: Chunk, groups: tuple[str, ...] | None) -> Tally:
    """The accounts as columns, one entry a row."""
    book, n = oracle.book, len(oracle.texts)
    starts = torch.stack([a.start for a in book.attempts]) if book.attempts else torch.zeros(1, n, dtype=torch.int64)
    won = torch.where(book.by >= 0, book.first - starts.gather(0, book.by.clamp_min(0)[None])[0], -1)
    nothing = np.zeros(n, dtype=np.bool_)
    return Tally(
        (chunk,), oracle.ids.numpy(), oracle.y.numpy(), book.answers.numpy(), book.correct.numpy(), book.eligible.numpy(), book.attacked.numpy(),
        book.broken.numpy(), book.by.numpy(), book.distance.numpy(), book.fell_distance.numpy(), book.first.numpy(), won.numpy(),
        book.queries.numpy(), _after(oracle, adversarial), (oracle.unverified & ~book.broken).numpy(), book.nonfinite.numpy(), nothing,
        nothing, book.taken.numpy(), torch.stack([*book.kinds.values()], 1).numpy(), book.refused.numpy(), (None,) * n, groups,
    )  # fmt: skip


def _after(oracle: TextOracle, adversarial: Sequence[str]) -> np.ndarray:
    """The answers under attack, int64 (n,): to the adversarial text of each row that an attack broke, and the clean answer of the others."""
    after = oracle.book.answers.clone()
    fell: list[int] = (oracle.book.broken & (oracle.book.by >= 0)).nonzero()[:, 0].tolist()
    if fell:
        after[fell] = oracle.referee.scores([adversarial[i] for i in fell]).argmax(1)
    return after.numpy()


def radii(siege: Siege) -> tuple[float, ...]:
    """The numbers of edits at which robust accuracy is told: none, one, and so on up to what is allowed, forty of them at most."""
    most = siege.threat.perturbation.eps
    step = max(math.ceil(most / 40), 1)
    return tuple(float(k) for k in range(0, int(most) + 1, step))
