"""Several networks as one module, so that they can be trained and saved together and taken apart again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from vauban.errors import BadTarget
from vauban.target import Committee, Target, Torch
from vauban.target.restricted import Restricted


class Together(nn.Module):
    """Networks of the same classes that answer with the log of the mean of their probabilities.

    Args:
        members: two or more, from inputs (n, *shape) to logits (n, classes).

    >>> ensemble = Together([nn.Linear(4, 3), nn.Linear(4, 3)])
    >>> ensemble(torch.zeros(2, 4)).exp().sum(1).allclose(torch.ones(2))
    True
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if len(self.members) < 2:
            raise BadTarget(f"an ensemble of {len(self.members)}; give two members or more")

    def forward(self, x: Tensor) -> Tensor:
        logs = torch.stack([cast("Tensor", member(x)).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - torch.log(torch.tensor(float(len(self.members))))


def members_of(target: Target) -> list[Target]:
    """The members of an ensemble as targets of their own: those of a `Committee`, or of a `Torch` target around a `Together`.

    Raises:
        BadTarget: the target is no ensemble.
    """
    inner = target.target if isinstance(target, Restricted) else target
    if isinstance(inner, Committee):
        return list(inner.members)
    if isinstance(inner, Torch) and isinstance(inner.model, Together):
        return [member_target(inner, member, i) for i, member in enumerate(inner.model.members)]
    raise BadTarget(
        f"{target.name}: a {inner.kind} target is no ensemble; load a Committee, or a torch module made with vauban.defences.ensembles.Together"
    )


def member_target(whole: Torch, member: nn.Module, place: int) -> Torch:
    """One network of an ensemble, fed as the whole is."""
    mean, std = whole.normalisation
    return Torch(
        member,
        outputs="logits",
        mean=None if mean is None else mean.tolist(),
        std=None if std is None else std.tolist(),
        name=f"{whole.name} {place + 1}: {type(member).__name__}",
    )
