"""Defences side by side, in a campaign file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vauban.campaign.file.fields import Count
from vauban.campaign.file.harden import HardenTable
from vauban.campaign.file.table import Table
from vauban.campaign.file.target import DataTable, DefenceTable
from vauban.campaign.file.threat import AttackTable


class ContenderTable(Table):
    """One line of the matrix: the target of the file, trained anew, behind defences, or another model in its place."""

    label: Annotated[str, Field(min_length=1)]
    """What the line is called."""
    defence: list[DefenceTable] = Field(default=[])
    """What stands around it, each around what the ones before it gave."""
    harden: HardenTable | None = None
    """How it is trained first; the rows are those of [harden.data] where it names none."""
    load: str | None = None
    """Another model than [target]'s."""
    weights: str | None = None
    """Other weights than [target]'s."""


class MatrixTable(Table):
    """Defences side by side (`vauban matrix`): each attack on each of them, naive and adaptive, with what each costs."""

    defences: list[str] = Field(default=[])
    """Defences and ways of training by name, with their default settings: "jpeg", "trades"."""
    defence: list[ContenderTable] = Field(default=[])
    """Further lines, with settings of their own."""
    attacks: list[str | AttackTable] = Field(default=["fgsm", "pgd", "apgd-t", "square", "hop-skip-jump"])
    """The columns: attacks, each alone on all rows; besides them every line is audited with `suite` and with what its defence owes."""
    suite: str = "vauban"
    """The set of attacks whose survivors are the robust accuracy of a line."""
    queries: Count = 1000
    """Questions on each row for the columns that see scores or labels."""
    data: DataTable | None = None
    """Clean rows that defences are fitted on; never those of the audit, nor those the model was trained on."""
    folder: str = "matrix"
    """Where what was measured is kept, relative to this file."""
