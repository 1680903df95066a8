"""What passed of each subgroup under a threat with a direction, counted over all rows of its classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vauban.campaign.doubts.scene import Bools
from vauban.campaign.presented import Presented
from vauban.campaign.run.survey import Ground
from vauban.campaign.run.tally import Tally
from vauban.measure.presentation import Presentation, Species
from vauban.measure.rate import ExactRate
from vauban.threat import Goal


def presented(goal: Goal, ground: Ground, done: Tally, names: Sequence[str]) -> Presented | None:
    """The error rates before and under attack; None where the goal has no direction, the data no subgroups, or no source row is done.

    Rows about which the target gave no answer are left out; an answer that is not finite lets nobody pass.
    """
    wanted = goal.wanted
    if not isinstance(wanted, int) or not goal.sources or done.groups is None:
        return None
    places = np.searchsorted(ground.rows.ids.numpy(), done.row)
    asked, finite = ~ground.missing.numpy()[places], ~ground.nonfinite.numpy()[places]
    sources = asked & np.isin(done.label, goal.sources)
    passed = finite & (done.answer == wanted)
    groups = np.array(done.groups)
    genuine = asked & (done.label == wanted)
    refused = ExactRate(int((genuine & ~passed).sum()), int(genuine.sum()))

    def rates(through: Bools) -> Presentation:
        return Presentation(tuple(_species(name, sources & (groups == name), through) for name in sorted(set(groups[sources]))), refused)

    if not sources.any():
        return None
    return Presented(names[wanted], rates(passed), rates(passed | (done.eligible & done.broken)))


def _species(name: str, rows: Bools, passed: Bools) -> Species:
    return Species(str(name), ExactRate(int((rows & passed).sum()), int(rows.sum())))
