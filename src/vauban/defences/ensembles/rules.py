"""The rules by which the members of an ensemble answer as one."""

from __future__ import annotations

from functools import partial

from vauban.defences.ensembles.together import members_of
from vauban.defences.registry import defence
from vauban.target import Committee, Target
from vauban.target.around import Owed

rule = partial(
    defence,
    "ensemble",
    adaptive="gradients of the mean of the scores and of the probabilities, of a majority's margin, of the least margin, and of every member",
    owes=(Owed("every-way", {"steps": 100, "step": 0.05}),),
)
"""A defence by a rule: whatever the rule, the attacker aims at all members at once."""
ALIKE = "members trained alike fall together (He et al. 2017, arXiv:1706.04701; Tramèr et al. 2020, arXiv:2002.08347)"


@rule(
    claims="examples made for one of its members, as far as the others are diverse",
    paper="Strauss et al. 2017, arXiv:1709.03423",
    broken=ALIKE,
)
def average(target: Target) -> Target:
    """The members of an ensemble answer with the mean of their probabilities."""
    return Committee(members_of(target), "mean", name=target.name)


@rule(
    claims="examples that fool fewer than a majority of its members",
    paper="Strauss et al. 2017, arXiv:1709.03423",
    broken=ALIKE,
)
def vote(target: Target) -> Target:
    """The members of an ensemble vote."""
    return Committee(members_of(target), "vote", name=target.name)


@rule(
    claims="examples that do not fool all of its members alike; everything else is rejected",
    paper="Bagnall et al. 2017, arXiv:1712.04006",
    broken="an attacker that aims at all members at once makes them agree on a wrong class (He et al. 2017, arXiv:1706.04701)",
)
def unanimous(target: Target) -> Target:
    """The members of an ensemble answer only where all of them agree."""
    return Committee(members_of(target), "unanimous", name=target.name)
