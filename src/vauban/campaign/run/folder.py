"""The run folder: which one a campaign goes on in, and where in it things lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from vauban.campaign.plan import Plan
from vauban.campaign.record import write_atomically
from vauban.campaign.run.chunk import Chunk, Survey, packed, unpacked
from vauban.campaign.run.identity import identity, plan_sha256
from vauban.errors import BadRun
from vauban.report.numbers import slug
from vauban.version import __version__

T = TypeVar("T")

FORMAT = 1
"""The version of the run folder's layout; a folder of another one is left alone."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk. A chunk is finished when its JSON is there: the table and the examples are written before it.

    Attributes:
        path: the folder.
        sha256: of the plan it belongs to.
        started: when it was begun, ISO 8601, UTC.
    """

    path: Path
    sha256: str
    started: str

    def chunk(self, threat: str, number: int) -> Path:
        return self.path / "chunks" / slug(threat) / f"{number:04}.json"

    def rows(self, threat: str, number: int) -> Path:
        return self.path / "rows" / slug(threat) / f"{number:04}.parquet"

    def adversarial(self, threat: str, number: int) -> Path:
        return self.path / "adversarial" / slug(threat) / f"{number:04}.safetensors"

    def gallery(self, threat: str) -> Path:
        return self.path / "gallery" / f"{slug(threat)}.npz"

    @property
    def survey(self) -> Path:
        return self.path / "chunks" / "clean.json"

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    def read_chunk(self, threat: str, number: int) -> Chunk | None:
        """A finished chunk, or None."""
        return _read(self.chunk(threat, number), Chunk)

    def read_survey(self) -> Survey | None:
        return _read(self.survey, Survey)

    def write_survey(self, survey: Survey) -> None:
        write_atomically(self.survey, packed(survey))

    def finished(self, threat: str, chunks: int) -> list[int]:
        """The numbers of the chunks that are finished under a threat."""
        return [n for n in range(chunks) if self.chunk(threat, n).is_file()]


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return unpacked(content, kind, str(path))


@dataclass(frozen=True, slots=True)
class Found:
    """A folder with a plan in it: what the plan's head says."""

    path: Path
    format: int
    vauban: str
    sha256: str
    started: str

    @property
    def age(self) -> tuple[str, int]:
        """Sorts runs from the oldest to the newest."""
        number = re.search(r"-(\d+)$", self.path.name)
        return self.started, int(number[1]) if number else 0

    @property
    def foreign(self) -> str:
        """Why it cannot be gone on with, whatever its plan; empty where it can."""
        if self.format != FORMAT:
            return f"has layout {self.format}, and this Vauban writes layout {FORMAT}"
        return "" if self.vauban == __version__ else f"was made by Vauban {self.vauban}, and this is {__version__}"


def open_run(plan: Plan, root: Path, *, fresh: bool = False, keep_inputs: bool | None = None) -> RunFolder:
    """The folder of this campaign inside `root`: the newest one of the same plan, or a new one, `root`/<date>-<n>.

    A folder of another plan, version or layout is never touched.
    """
    about = identity(plan, keep_inputs=plan.keep_inputs if keep_inputs is None else keep_inputs)
    sha = plan_sha256(about)
    same = [f for f in runs_in(root) if f.sha256 == sha and not f.foreign]
    if same and not fresh:
        newest = max(same, key=lambda f: f.age)
        return RunFolder(newest.path, sha, newest.started)
    return _begun(new_folder(root), plan, about, sha)


def open_exactly(plan: Plan, path: Path, *, fresh: bool = False, keep_inputs: bool | None = None) -> RunFolder:
    """This very folder: begun if it is empty or new, gone on with if it holds the same plan.

    Raises:
        BadRun: it holds something else, or a run although a fresh one is wanted; it is left as it is.
    """
    about = identity(plan, keep_inputs=plan.keep_inputs if keep_inputs is None else keep_inputs)
    sha = plan_sha256(about)
    found = found_in(path)
    if found is None:
        if path.exists() and (not path.is_dir() or any(p.name != ".plan.json.part" for p in path.iterdir())):
            raise BadRun(f"{path}: not a run folder, and not empty; it is left as it is: give another folder")
        path.mkdir(parents=True, exist_ok=True)
        return _begun(path, plan, about, sha)
    if fresh:
        raise BadRun(f"{path}: holds a run already, and a fresh one is wanted; it is left as it is: give another folder")
    if found.foreign:
        raise BadRun(f"{path}: this run {found.foreign}; it is left as it is: give another folder")
    if found.sha256 != sha:
        raise BadRun(f"{path}: holds the run of another plan (other settings, model or data); it is left as it is: give another folder")
    return RunFolder(path, sha, found.started)


def runs_in(root: Path) -> Iterator[Found]:
    """The run folders in a folder."""
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        found = found_in(path) if path.is_dir() else None
        if found is not None:
            yield found


def found_in(path: Path) -> Found | None:
    """The head of the plan in a folder; None where there is none that can be read."""
    try:
        head: Any = json.loads((path / "plan.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(head, dict):
        return None
    told = cast("dict[str, Any]", head)
    words = [str(told.get(k, "")) for k in ("vauban", "plan_sha256", "started")]
    return Found(path, int(told["format"]) if isinstance(told.get("format"), int) else 0, *words)


def new_folder(root: Path) -> Path:
    """A new folder <date>-<n>. Making it is what claims the number."""
    root.mkdir(parents=True, exist_ok=True)
    day, n = f"{datetime.now():%Y-%m-%d}", 1
    while True:
        path = root / f"{day}-{n}"
        try:
            path.mkdir()
        except FileExistsError:
            n += 1
        else:
            return path


def _begun(path: Path, plan: Plan, about: dict[str, Any], sha: str) -> RunFolder:
    folder = RunFolder(path, sha, datetime.now(UTC).isoformat(timespec="milliseconds"))
    write_plan(folder, plan.title, "" if plan.source is None else plan.source.name, plan.resolved, about)
    return folder


def write_plan(folder: RunFolder, title: str, source: str, resolved: dict[str, object], about: dict[str, Any]) -> None:
    """Write plan.json, by which a folder is known as a run of a plan: `about` is what its numbers depend on."""
    head = {"format": FORMAT, "vauban": __version__, "plan_sha256": folder.sha256, "started": folder.started, "title": title}
    content = {**head, "source": source, "resolved": resolved, "identity": about}
    write_atomically(folder.path / "plan.json", json.dumps(content, indent=1, default=str))
