"""The ceilings that all devices share: whoever runs the guard is told before they are reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from vauban.guard.config.model import Ceiling, Limits
from vauban.guard.limits.log import unpacked
from vauban.guard.limits.reserve import key_of
from vauban.guard.limits.tables import limits
from vauban.guard.storage import Transaction

NEAR = 0.8
"""The share of a ceiling from which on it is told."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a ceiling is.

    Attributes:
        name: "everyone", or a relying party's.
        used: places that are taken in the window that ends now.
    """

    name: str
    used: int
    ceiling: Ceiling

    @property
    def near(self) -> bool:
        """Whether at least four fifths are used."""
        return self.used >= NEAR * self.ceiling.count


def fills(tx: Transaction, config: Limits, parties: Iterable[str]) -> list[Fill]:
    """How full the ceilings of everyone and of the relying parties are."""
    asked = {key_of("everyone", ""): ("everyone", config.everyone), **{key_of("party", p): (p, config.party) for p in parties}}
    found = {key: unpacked(log) for key, log in tx.run(select(limits.c.key, limits.c.log).where(limits.c.key.in_(asked)))}
    now = tx.now()
    return [Fill(name, found[key].within(now, of.window).total if key in found else 0, of) for key, (name, of) in asked.items()]
