"""The rules by which the members of an ensemble answer as one."""

from __future__ import annotations

from vauban.defences.ensembles.together import members_of
from vauban.defences.registry import defence
from vauban.target import Committee, Target
from vauban.target.around import Owed

JOINT = (Owed("every-way", {"steps": 100, "step": 0.05}),)
ADAPTIVE = "gradients of the mean of the scores and of the probabilities, of a majority's margin, of the least margin, and of every member"


@defence(
    "ensemble",
    claims="examples made for one of its members, as far as the others are diverse",
    adaptive=ADAPTIVE,
    paper="Strauss et al. 2017, arXiv:1709.03423",
    owes=JOINT,
    broken="members trained alike fall together (He et al. 2017, arXiv:1706.04701; Tramèr et al. 2020, arXiv:2002.08347)",
)
def average(target: Target) -> Target:
    """The members of an ensemble answer with the mean of their probabilities."""
    return Committee(members_of(target), "mean", name=target.name)


@defence(
    "ensemble",
    claims="examples that fool fewer than a majority of its members",
    adaptive=ADAPTIVE,
    paper="Strauss et al. 2017, arXiv:1709.03423",
    owes=JOINT,
    broken="members trained alike fall together (He et al. 2017, arXiv:1706.04701; Tramèr et al. 2020, arXiv:2002.08347)",
)
def vote(target: Target) -> Target:
    """The members of an ensemble vote."""
    return Committee(members_of(target), "vote", name=target.name)


@defence(
    "ensemble",
    claims="examples that do not fool all of its members alike; everything else is rejected",
    adaptive=ADAPTIVE,
    paper="Sheikholeslami et al. 2019 and the voting with rejection of Bagnall et al. 2017, arXiv:1712.04006",
    owes=JOINT,
    broken="members trained alike are unanimously wrong on half of the examples made for all of them",
)
def unanimous(target: Target) -> Target:
    """The members of an ensemble answer only where all of them agree."""
    return Committee(members_of(target), "unanimous", name=target.name)
