"""Where finished chunks are kept: in a run folder, or in memory when there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import safetensors.torch
import torch

from vauban.campaign.plan import Siege
from vauban.campaign.record import write_atomically
from vauban.campaign.run.besiege import Fought
from vauban.campaign.run.chunk import Chunk, Survey, packed
from vauban.campaign.run.folder import RunFolder
from vauban.campaign.run.survey import Ground
from vauban.campaign.run.table import table


class Store(Protocol):
    """Keeps the survey and the finished chunks of a campaign."""

    def survey(self) -> Survey | None:
        """The clean answers, if they were asked before."""
        ...

    def keep_survey(self, survey: Survey) -> None: ...

    def chunk(self, siege: Siege, number: int) -> Chunk | None:
        """A finished chunk, or None."""
        ...

    def keep(self, siege: Siege, ground: Ground, fought: Fought) -> None:
        """Keep a finished chunk; when this returns, it is not lost any more."""
        ...

    def finished(self, siege: Siege, chunks: int) -> list[int]:
        """The numbers of the finished chunks."""
        ...


@dataclass
class Memory:
    """Nothing on disk."""

    asked: Survey | None = None
    done: dict[tuple[str, int], Chunk] = field(default_factory=dict[tuple[str, int], Chunk])

    def survey(self) -> Survey | None:
        return self.asked

    def keep_survey(self, survey: Survey) -> None:
        self.asked = survey

    def chunk(self, siege: Siege, number: int) -> Chunk | None:
        return self.done.get((siege.threat.name, number))

    def keep(self, siege: Siege, ground: Ground, fought: Fought) -> None:
        self.done[siege.threat.name, fought.chunk.number] = fought.chunk

    def finished(self, siege: Siege, chunks: int) -> list[int]:
        return [n for n in range(chunks) if self.chunk(siege, n) is not None]


@dataclass(frozen=True)
class Disk:
    """A run folder. The chunk's own file is written last: what is there is whole."""

    folder: RunFolder
    keep_inputs: bool

    def survey(self) -> Survey | None:
        return self.folder.read_survey()

    def keep_survey(self, survey: Survey) -> None:
        self.folder.write_survey(survey)

    def chunk(self, siege: Siege, number: int) -> Chunk | None:
        return self.folder.read_chunk(siege.threat.name, number)

    def keep(self, siege: Siege, ground: Ground, fought: Fought) -> None:
        threat, number = siege.threat.name, fought.chunk.number
        rows = [f.row for f in fought.chunk.fates]
        at = torch.searchsorted(ground.rows.ids, torch.tensor(rows))
        content = table(fought, ground.rows.y[at].tolist(), ground.answers[at].tolist())
        write_atomically(self.folder.rows(threat, number), content)
        if self.keep_inputs and fought.examples is not None:
            e = fought.examples
            tensors = {"x": e.x, "row": e.row, "label": e.label, "answer": e.answer}
            write_atomically(self.folder.adversarial(threat, number), safetensors.torch.save(tensors))
        write_atomically(self.folder.chunk(threat, number), packed(fought.chunk))

    def finished(self, siege: Siege, chunks: int) -> list[int]:
        return self.folder.finished(siege.threat.name, chunks)
