"""What a matrix of defences found: plain values, readable without torch, written once and atomically."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vauban.campaign.record import Doubt, write_atomically
from vauban.errors import BadRun
from vauban.measure.rate import Rate

FIELDS: tuple[str, ...] = (
    *("data", "rows", "threat", "defence", "attack", "naive", "naive_low", "naive_high", "adaptive", "adaptive_low", "adaptive_high"),
    *("clean", "robust", "certified", "training", "inference", "memory", "doubts"),
)
"""The columns of the CSV: a line for each defence, threat and attack; shares in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What one attack alone did to one line under one threat.

    Attributes:
        attack: its label.
        adaptive: rows it broke, of all; the attacker knows the defence, or sees what the threat's access shows.
        naive: rows broken by the same attack made on the undefended model and handed in; None where that means nothing.
    """

    attack: str
    adaptive: Rate
    naive: Rate | None = None


@dataclass(frozen=True, slots=True)
class Stand:
    """How one line stood under one threat.

    Attributes:
        threat: its name.
        robust: rows that withstood the whole suite and what the defence owes.
        naive: rows that withstood the attacker that does not know of the defence.
        certified: rows proven robust.
        hits: single attacks, in the order of the columns; those that cannot act are left out.
        doubts: reasons not to take the number at face value.
        held: one truth value a row of the denominator: whether it withstood everything; for paired comparisons.
        report: the page of the audit, relative to the matrix's folder.
    """

    threat: str
    robust: Rate
    naive: Rate | None = None
    certified: Rate | None = None
    hits: tuple[Hit, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    held: tuple[bool, ...] = ()
    report: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One defence.

    Attributes:
        label: what it is called; the first line is the target without any.
        wears: the defences around the model, from the innermost; the way of training first.
        clean: rows classified correctly; a rejected one is not.
        stands: one for each threat.
        training: time of training over that of plain training; None where nothing was trained.
        inference: CPU time of an answer over that of the undefended target.
        memory: bytes of weights and of what was fitted.
        failed: why it could not be measured; empty where it was.
    """

    label: str
    wears: tuple[str, ...] = ()
    clean: Rate = Rate(hits=0, rows=0)  # noqa: RUF009  # frozen
    stands: tuple[Stand, ...] = ()
    training: float | None = None
    inference: float = 1.0
    memory: int = 0
    failed: str = ""

    @property
    def worst(self) -> float:
        """The lowest robust accuracy under any threat; NaN where nothing was measured."""
        return min((s.robust.value for s in self.stands), default=float("nan"))


@dataclass(frozen=True, slots=True)
class Matrix:
    """The whole table."""

    title: str
    data: str
    rows: int
    threats: tuple[str, ...]
    attacks: tuple[str, ...]
    lines: tuple[Line, ...]
    seed: int = 0
    seconds: float = 0.0
    complete: bool = True
    versions: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def measured(self) -> tuple[Line, ...]:
        """The lines with numbers."""
        return tuple(line for line in self.lines if not line.failed)

    def write(self, folder: Path) -> None:
        """Write matrix.json and matrix.csv, each whole or not at all."""
        write_atomically(folder / "matrix.json", msgspec.json.format(msgspec.json.encode(self), indent=1))
        write_atomically(folder / "matrix.csv", self.csv())

    @classmethod
    def read(cls, folder: Path) -> Matrix:
        """Read what `write` wrote.

        Raises:
            BadRun: there is nothing to read, or it is damaged.
        """
        file = folder / "matrix.json" if folder.is_dir() else folder
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except OSError as error:
            raise BadRun(f"{file}: no matrix can be read there ({error.strerror}); `vauban matrix` writes one") from error
        except msgspec.MsgspecError as error:
            raise BadRun(f"{file}: not a matrix of Vauban: {error}") from error

    def csv(self) -> str:
        """The long form: one line for each defence, threat and attack, the whole suite among them."""
        out = io.StringIO()
        writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
        writer.writeheader()
        for line in self.measured:
            for stand in line.stands:
                writer.writerows(self._rows(line, stand))
        return out.getvalue()

    def _rows(self, line: Line, stand: Stand) -> Sequence[dict[str, object]]:
        common = {
            "data": self.data, "rows": stand.robust.rows, "threat": stand.threat, "defence": line.label, "clean": _share(line.clean),
            "robust": _share(stand.robust), "certified": _share(stand.certified), "training": "" if line.training is None else f"{line.training:.2f}",
            "inference": f"{line.inference:.2f}", "memory": line.memory, "doubts": " ".join(d.name for d in stand.doubts),
        }  # fmt: skip
        whole = Hit("all", fell(stand.robust), None if stand.naive is None else fell(stand.naive))
        return [{**common, "attack": h.attack, **_ends("naive", h.naive), **_ends("adaptive", h.adaptive)} for h in (whole, *stand.hits)]


def fell(stood: Rate) -> Rate:
    """The other share: rows that did not stand."""
    return Rate(stood.rows - stood.hits, stood.rows, stood.level)


def _share(rate: Rate | None) -> str:
    return "" if rate is None or not rate.rows else f"{rate.value:.4f}"


def _ends(name: str, rate: Rate | None) -> dict[str, str]:
    low, high = ("", "") if rate is None or not rate.rows else (f"{end:.4f}" for end in rate.interval)
    return {name: _share(rate), f"{name}_low": low, f"{name}_high": high}
