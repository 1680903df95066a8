"""How well examples made for one model fool another: what tells whether the members of an ensemble are diverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.attacks import Attack
from vauban.doors import Oracle
from vauban.measure.rate import Rate
from vauban.target import Own, Target, default_surrogate
from vauban.threat import Access, Threat


@dataclass(frozen=True)
class TransferMatrix:
    """Examples made on each model, judged on each.

    Attributes:
        names: of the models.
        fooled: fooled[i][j] rows are answered wrongly by model j on an example made for model i.
        rows: rows that every model answers correctly without attack: the denominator of all.
    """

    names: tuple[str, ...]
    fooled: tuple[tuple[int, ...], ...]
    rows: int

    def rate(self, source: int, judged: int) -> Rate:
        """The share of the rows that fool one model with the examples of another, with its Wilson interval."""
        return Rate(self.fooled[source][judged], self.rows)

    @property
    def transferred(self) -> float:
        """The mean share off the diagonal: 0 where no example carries over, 1 where the models are one as far as attacks go."""
        n = len(self.names)
        off = [self.rate(i, j).value for i in range(n) for j in range(n) if i != j]
        return sum(off) / len(off)


def transfer_matrix(models: Sequence[Target], x: Tensor, y: Tensor, threat: Threat, attack: Attack, *, seed: int = 0) -> TransferMatrix:
    """Make examples on each model with an attack, hand them to every model, and count.

    Args:
        models: two or more with gradients, of the same classes.
        x, y: inputs (n, *shape) and true classes (n,); rows that some model answers wrongly are left out.
        threat: what may be changed; its goal is any wrong class.
        attack: runs on each model in turn, as on a model of the attacker's own, and hands in where it ends.
    """
    right = torch.stack([m.labels(x.to(m.device)).cpu() == y for m in models]).all(0)
    x, y = x[right], y[right]
    blind = Threat(threat.name, threat.perturbation, Access.NONE)
    counts: list[tuple[int, ...]] = []
    for source in models:
        own = default_surrogate(source)
        made = [_fallen(judged, x, y, blind, attack, None if own is None else Own(own), seed) for judged in models]
        counts.append(tuple(made))
    return TransferMatrix(tuple(m.name for m in models), tuple(counts), len(x))


def _fallen(judged: Target, x: Tensor, y: Tensor, threat: Threat, attack: Attack, source: Own | None, seed: int) -> int:
    if not len(x) or source is None:
        return 0
    o = Oracle(judged, x, y, threat, surrogate=source, seed=seed)
    attack(o)
    return int(o.outcome.broken.sum())
