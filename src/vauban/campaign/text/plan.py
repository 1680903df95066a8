"""A campaign against a classifier of texts, ready to run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vauban.campaign.behind import BEHIND
from vauban.campaign.plan import Siege
from vauban.campaign.record import Promise
from vauban.data.texts import Texts
from vauban.doors.text import Normalised, TextTarget
from vauban.errors import BadPlan
from vauban.threat import Threat


@dataclass(frozen=True)
class TextPlan:
    """A whole campaign.

    Attributes:
        title: what the report is headed with.
        target, data: who is attacked, on what.
        sieges: the threats with their attacks; those whose name ends in ", normalised" face the target behind the normaliser.
        promises: what the owner promised for them.
        seed: of all random numbers.
        max_rows: texts in one call of the target.
        keep_inputs: whether texts are written and shown in the report.
        resolved: the plan in plain values, as recorded and hashed.
        source: the file it was read from, if any.
    """

    title: str
    target: TextTarget
    data: Texts
    sieges: tuple[Siege, ...]
    promises: tuple[Promise, ...] = ()
    seed: int = 0
    max_rows: int = 256
    keep_inputs: bool = True
    resolved: dict[str, object] = field(default_factory=dict[str, object])
    source: Path | None = None

    def facing(self, threat: Threat) -> TextTarget:
        """The target as a threat faces it."""
        return Normalised(self.target) if threat.name.endswith(BEHIND) else self.target


def doubled(threats: Iterable[Threat], *, both: bool) -> tuple[Threat, ...]:
    """The threats, each followed by the same against the normalised target where `both` are wanted.

    Raises:
        BadPlan: two have the same name then.
    """
    every = [t for threat in threats for t in (threat, replace(threat, name=threat.name + BEHIND))[: 2 if both else 1]]
    twice = next((t.name for i, t in enumerate(every) if t.name in [o.name for o in every[:i]]), None)
    if twice is not None:
        raise BadPlan(f"two threats are named {twice!r}; each needs a name of its own")
    return tuple(every)
