"""What may stand in a campaign file. The texts under the fields go into the published JSON Schema."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr

from vauban.campaign.file.fields import Count, Seed, Share
from vauban.campaign.file.harden import HardenTable
from vauban.campaign.file.matrix import MatrixTable
from vauban.campaign.file.source import Source
from vauban.campaign.file.table import Table
from vauban.campaign.file.target import DataTable, DefenceTable, TargetTable
from vauban.campaign.file.threat import SurrogateTable, ThreatTable


class PromiseTable(Table):
    """What the owner promises under a threat: at least these shares."""

    robust_accuracy: Share | None = None
    """The least share of rows that withstand every attack, in [0, 1]."""
    clean_accuracy: Share | None = None
    """The least share of rows classified correctly without attack, in [0, 1]."""


class RunTable(Table):
    """How the campaign is run."""

    chunk: Count = 250
    """Rows in one unit of work: what an interrupted run repeats at most."""
    max_rows: Count | None = None
    """Rows in one forward pass; by default chosen, and halved when memory runs out."""
    folder: str = "runs"
    """Where run folders are made, relative to this file."""
    inputs: bool = True
    """Whether adversarial examples and a gallery are kept in the run folder."""


class FileModel(Table):
    """A campaign: attack a model under stated threats, and hold it to what was promised."""

    title: str = ""
    """What the report is headed with."""
    seed: Seed = 0
    """Of all random numbers."""
    target: TargetTable
    defence: list[DefenceTable] = Field(default=[])
    """What stands around the target, each around what the ones before it gave: an input meets the last one first."""
    data: DataTable
    surrogate: list[SurrogateTable] = Field(default=[])
    """Models of the attacker's own."""
    threat: Annotated[list[ThreatTable], Field(min_length=1)]
    """The attackers."""
    promise: dict[str, PromiseTable] = Field(default={})
    """What is promised, for each threat by its name."""
    run: RunTable = RunTable()
    harden: HardenTable | None = None
    matrix: MatrixTable | None = None
    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """Where it was read from, for errors."""
        return self._source

    def read_from(self, source: Source) -> FileModel:
        """The same model, which knows where it was read from."""
        self._source = source
        return self
