"""How much the members of a committee disagree."""

from __future__ import annotations

import torch
from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated
from vauban.defences.registry import Clean, defence
from vauban.errors import BadTarget
from vauban.noise import RowNoise
from vauban.target import Committee, Surrogate, Target
from vauban.target.around import Around
from vauban.target.committee import Pool, log_mean_probability, votes
from vauban.threat import Access


@defence(
    "detection",
    claims="inputs on which the members of a committee disagree; a share `rejected` of clean inputs is rejected",
    adaptive="gradients of all members at once: their common answer made wrong first, and then their agreement raised",
    paper="Lakshminarayanan et al. 2017, arXiv:1612.01474; the divergence is that of Malinin and Gales 2018, arXiv:1802.10501, equation 5",
    owes=SELECTIVE,
    broken="members trained alike err alike: an attack on all of them leaves 0-2 % at a radius where transfer leaves 2-4 % (MNIST, 0.2)",
)
def disagreement(target: Target, clean: Clean, *, rejected: Rejected = 0.05) -> Target:
    """Rejects inputs on which members disagree: the entropy of their mean probabilities less the mean of their entropies. Needs a committee."""
    return calibrated(target, Disagreement(committee_inside(target)), clean, rejected)


class Disagreement(Detector):
    """The mutual information between the answer and the member that gives it, in nats: 0 where all agree. The members are asked once."""

    def __init__(self, committee: Committee) -> None:
        self.committee = committee

    def look(self, model: Surrogate, x: Tensor, draw: RowNoise | None) -> Seen:
        members = model.members if isinstance(model, Pool) else self.committee.members
        asked = [_member(m, model, x, None if draw is None else draw.fork(i)) for i, m in enumerate(members)]
        rule = model.combine if isinstance(model, Pool) else votes if self.committee.rule == "vote" else log_mean_probability
        return Seen(x, rule(asked, self.committee.weights).to(x.device), model, draw, torch.stack(asked))

    def strangeness(self, seen: Seen) -> Tensor:
        if seen.inside is None:
            raise BadTarget("a detector of disagreement was shown a pass without its members' scores; let it look itself")
        logs = seen.inside.log_softmax(2)
        mean = log_mean_probability(list(seen.inside), self.committee.weights)
        weights = torch.tensor(self.committee.weights, device=logs.device)
        each = -(logs.exp() * logs).sum(2)
        within = (each * (weights / weights.sum())[:, None]).sum(0)
        return (-(mean.exp() * mean).sum(1) - within).to(seen.x.device)


def _member(member: Surrogate, model: Surrogate, x: Tensor, draw: RowNoise | None) -> Tensor:
    """A member's scores on the device of the inputs: differentiable where the model asked is, plain otherwise."""
    home = x.device
    if isinstance(member, Target):
        x = x.to(member.device)
        if not isinstance(model, (Pool, Committee)):
            return member.scores(x, draw).to(home)
    return member.smooth(x, draw).to(home)


def committee_inside(target: Target) -> Committee:
    """The committee that a target is; raises `BadTarget` where it is none, or a member shows no scores."""
    if not isinstance(target, Committee):
        inside = f"; it wears {target.kind}, put the detector around the committee first" if isinstance(target, Around) else ""
        raise BadTarget(f"{target.name}: members can only disagree in a committee, and this is a {target.kind} target{inside}")
    silent = [m.name for m in target.members if m.access < Access.SCORE]
    if silent or len(target.members) < 2:
        why = f"{silent[0]} only shows labels" if silent else "it has one member"
        raise BadTarget(f"{target.name}: disagreement is about scores of two members or more, and {why}")
    return target
