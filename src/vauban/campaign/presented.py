"""What a check lets pass, by the instrument that was presented: before an attack changes anything, and under attack."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.measure.presentation import Presentation


@dataclass(frozen=True, slots=True)
class Presented:
    """The error rates of a directional threat whose rows have subgroups; in a liveness check, the species of attack instruments.

    Attributes:
        wanted: the class that the attacker wants to be taken for, such as "live".
        before: APCER of each subgroup of the source classes, and BPCER of the wanted class, over all their rows, as the model answers them.
        under: the same with every attack of the threat: what passed before, and what an attack made pass. Rows of the wanted class are not
            attacked, so that its BPCER is the same.
    """

    wanted: str
    before: Presentation
    under: Presentation
