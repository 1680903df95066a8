"""Runs as people name them: a run folder, a record, or "latest"."""

from __future__ import annotations

import re
from pathlib import Path

from vauban.campaign.record import Record
from vauban.errors import BadRun

HELP = 'A run folder, its record.json, or "latest": the newest in ./runs.'


def read_run(name: str, root: Path = Path("runs")) -> tuple[Path, Record]:
    """Where a run's record lies, and the record.

    Raises:
        BadRun: there is none, or it cannot be read.
    """
    path = latest(root) if name == "latest" and not Path(name).exists() else Path(name)
    return path, Record.read(path)


def latest(root: Path = Path("runs")) -> Path:
    """The run folder whose record was written last.

    Raises:
        BadRun: no folder in `root` has a record.
    """
    records = list(root.glob("*/record.json"))
    if not records:
        raise BadRun(f"{root}: no run is there; `vauban audit` makes one, or give a run folder")
    return max(records, key=_age).parent


def _age(record: Path) -> tuple[int, list[int]]:
    """When it was written; of two in one instant, the one with the higher number is newer."""
    return record.stat().st_mtime_ns, [int(n) for n in re.findall(r"\d+", record.parent.name)]
