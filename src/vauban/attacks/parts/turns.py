"""One turn of many rows, each in a phase of its own: their questions share the calls to the target."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.doors import KINDS, Kind, Oracle

FOREVER = 1 << 62
"""Turns of an attack whose rows leave by themselves."""


def ask(o: Oracle, v: Tensor, phase: Tensor, kinds: tuple[Kind, ...], where: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Ask about v (..., n, *shape), the questions of each row being of the kind of the phase it is in.

    Args:
        o: the oracle.
        v: the variables; leading dimensions are several questions on each row.
        phase: int64 (n,), indices into `kinds`; a negative one asks nothing.
        kinds: what the questions of each phase are for, in the ledger.
        where: bool (n,) or (..., n), what of it is asked; None for all.

    Returns:
        Whether each question fooled the target and whether it was answered at all, bool (..., n) each.
    """
    places = torch.tensor([KINDS.index(kind) for kind in kinds], device=phase.device)
    won = o.fooled(v, phase >= 0 if where is None else where & (phase >= 0), kind=places[phase.clamp_min(0)])
    return won, o.answered
