"""A campaign from its plan to its record: threat by threat, chunk by chunk, resumed where it was left."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vauban.campaign.doubts import DOUBTERS, Doubter
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import Finding, Record
from vauban.campaign.run.besiege import besiege, labels_of
from vauban.campaign.run.bills import bills_of
from vauban.campaign.run.cards import data_card, target_card
from vauban.campaign.run.chunk import Chunk, Try
from vauban.campaign.run.events import (
    AttackFinished,
    ChunkFinished,
    ChunkStarted,
    Finished,
    JsonLines,
    Note,
    Opened,
    Progress,
    Several,
    SiegeStarted,
    quiet,
)
from vauban.campaign.run.finding import finding
from vauban.campaign.run.folder import RunFolder, open_run
from vauban.campaign.run.gallery import write_gallery
from vauban.campaign.run.identity import git_state, identity, plan_sha256, versions
from vauban.campaign.run.publish import publish
from vauban.campaign.run.store import Disk, Memory, Store
from vauban.campaign.run.survey import Ground, ask_clean, by_id, look_again
from vauban.campaign.run.tally import tally
from vauban.errors import BadPlan, BadRun, NotGranted


def audit_plan(
    plan: Plan,
    *,
    folder: RunFolder | Path | None = None,
    progress: Progress = quiet,
    fresh: bool = False,
    keep_inputs: bool | None = None,
    doubters: Sequence[Doubter] = DOUBTERS,
    command: str = "",
) -> Record:
    """Carry out a plan, or go on with it, and give its record.

    Args:
        plan: who is attacked, on what, how.
        folder: where run folders are made (the newest one of the same plan is gone on with), or one that is opened already; None keeps
            everything in memory.
        progress: who is told what happens.
        fresh: begin a new run folder, whatever there is.
        keep_inputs: whether the folder keeps adversarial examples and a gallery; by default what the plan says.
        doubters: who looks for reasons not to trust the numbers.
        command: what the report tells its reader to run again.

    Raises:
        BadPlan, BadData, BadTarget, NotGranted: the campaign cannot be carried out as planned.
        BadRun: the run folder cannot be read or written, such as on a full disk; finished chunks are kept.
        KeyboardInterrupt: after the record of what was finished is written, marked as incomplete.
    """
    check(plan)
    kept = plan.keep_inputs if keep_inputs is None else keep_inputs
    with full_disk_told(folder):
        run = open_run(plan, folder, fresh=fresh, keep_inputs=kept) if isinstance(folder, Path) else folder
        return Campaign(plan, run, keep_inputs=kept, progress=progress, doubters=doubters, command=command).carried_out()


def check(plan: Plan) -> None:
    """Whether every attack can act under its threat, before anything is asked.

    Raises:
        BadPlan: one cannot, there is no threat, or two have the same name.
        NotGranted: a threat grants more than the target shows.
    """
    names = [s.threat.name for s in plan.sieges]
    if not names:
        raise BadPlan("no threat: a campaign needs at least one")
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise BadPlan(f"two threats are named {twice!r}; each needs a name of its own")
    unknown = next((p.threat for p in plan.promises if p.threat not in names), None)
    if unknown is not None:
        raise BadPlan(f"a promise is made for {unknown!r}, and the threats are {', '.join(map(repr, names))}")
    for siege in plan.sieges:
        if siege.threat.access > plan.target.access and siege.surrogate is None:
            raise NotGranted(
                f"threat {siege.threat.name!r} grants {siege.threat.access.name.lower()} access, and {plan.target.name} only shows "
                f"{plan.target.access.name.lower()}s; lower the threat's access, or give a surrogate to take gradients from"
            )
        if not siege.attacks:
            raise BadPlan(f"threat {siege.threat.name!r} has no attack; name at least one")
        for attack in siege.attacks:
            attack.check(siege.threat, shape=plan.data.shape)


@contextmanager
def full_disk_told(folder: RunFolder | Path | None) -> Generator[None]:
    """A full disk as one clear sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = folder.path if isinstance(folder, RunFolder) else folder
        raise BadRun(
            f"{where}: the disk is full; what was finished is kept: make room and run the same audit again, it goes on from there"
        ) from error


class Campaign:
    """One campaign being carried out.

    Args:
        folder: the run folder; None for none.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder | None,
        *,
        keep_inputs: bool,
        progress: Progress,
        doubters: Sequence[Doubter],
        command: str,
    ) -> None:
        self.plan, self.folder, self.keep_inputs, self.doubters, self.command = plan, folder, keep_inputs, doubters, command
        self.rows = by_id(plan.data)
        self.chunks = math.ceil(len(self.rows) / plan.chunk)
        self.store: Store = Memory() if folder is None else Disk(folder, keep_inputs)
        self.people = progress
        self.tell: Progress = progress if folder is None else Several(JsonLines(folder.events), progress)
        self.started = datetime.now(UTC).isoformat(timespec="milliseconds") if folder is None else folder.started
        self.began = time.perf_counter()
        self.max_rows = plan.max_rows
        self.left = 0
        self.worked = 0

    def carried_out(self) -> Record:
        """The record, from what is finished and what is still to be done."""
        before = self._finished_record()
        done = [self.store.finished(s, self.chunks) for s in self.plan.sieges]
        total = self.chunks * len(self.plan.sieges)
        self.left = total - sum(map(len, done))
        path = self.folder.path if self.folder else None
        threats = tuple(s.threat.name for s in self.plan.sieges)
        opened = Opened(self.plan.title, self.plan.target.name, len(self.rows), threats, path, total - self.left, total, before is not None)
        if before is not None:
            self.people(opened)
            return self._again(before)
        self.tell(opened)
        ground: Ground | None = None
        try:
            if self.left:
                self._make_ready()
            ground = self._ground()
            for siege, numbers in zip(self.plan.sieges, done, strict=True):
                self._carry_out(siege, ground, numbers)
            record = self._record(ground, complete=True)
        except KeyboardInterrupt:
            self._interrupted(ground)
            raise
        self.tell(Finished(True, time.perf_counter() - self.began, path))
        return record

    def _make_ready(self) -> None:
        """Train what is to be trained, before anything else is asked: so that it learns the same whether the run is gone on with or not."""
        for siege in self.plan.sieges:
            if siege.surrogate is not None:
                siege.surrogate.ready()

    def _finished_record(self) -> Record | None:
        """The record of a run that was finished before."""
        if self.folder is None or not self.folder.record.is_file():
            return None
        found = Record.read(self.folder.record)
        return found if found.complete else None

    def _again(self, record: Record) -> Record:
        """A finished record, as it stands; words that no number depends on are brought up to date."""
        now = replace(record, title=self.plan.title, promises=self.plan.promises)
        if now != record and self.folder is not None:
            publish(now, self.folder, self.plan)
        return now

    def _ground(self) -> Ground:
        """The clean answers, asked now or in the session that began the run."""
        known = self.store.survey()
        if known is None:
            known = ask_clean(self.plan, self.rows)
            self.store.keep_survey(known)
        elif self.left:
            look_again(self.plan, self.rows, known)
        return Ground.of(self.rows, known)

    # ---- the work -------------------------------------------------------------------------------------------------------------------

    def _carry_out(self, siege: Siege, ground: Ground, done: Sequence[int]) -> None:
        """Every chunk of a threat that is not finished yet."""
        name = siege.threat.name
        self.tell(SiegeStarted(name, labels_of(siege.attacks), self.chunks, len(done)))
        ready = [c for n in done if (c := self.store.chunk(siege, n)) is not None]
        spent = sum(c.seconds for c in ready)
        rows, standing = _standing(ready)
        for number in (n for n in range(self.chunks) if n not in set(done)):
            chunk = self._chunk(siege, ground, number, spent)
            spent += chunk.seconds
            more, withstood = _standing([chunk])
            rows, standing = rows + more, standing + withstood
            self.left, self.worked = self.left - 1, self.worked + 1
            eta = (time.perf_counter() - self.began) / self.worked * self.left
            self.tell(ChunkFinished(name, number, self.chunks, rows, standing, chunk.seconds, eta))

    def _chunk(self, siege: Siege, ground: Ground, number: int, spent: float) -> Chunk:
        name, attacks = siege.threat.name, len(siege.attacks)
        _, attacked = ground.denominator(siege.threat.goal)
        self.tell(ChunkStarted(name, number, self.chunks, int(attacked[number * self.plan.chunk : (number + 1) * self.plan.chunk].sum())))

        def told(place: int, try_: Try, left: int) -> None:
            self.tell(AttackFinished(name, number, try_.label, place, attacks, left, try_.seconds))

        deadline = time.monotonic() + siege.threat.seconds - spent
        fought = besiege(self.plan, siege, ground, number, max_rows=self.max_rows, deadline=deadline, told=told)
        if fought.max_rows != self.max_rows:
            self.max_rows = fought.max_rows
            self.tell(Note(f"{name}: memory ran out; from now on {self.max_rows} rows in one pass"))
        self.store.keep(siege, ground, fought)
        return fought.chunk

    # ---- the record -----------------------------------------------------------------------------------------------------------------

    def _interrupted(self, ground: Ground | None) -> None:
        """Write down what is finished, and say how to go on."""
        if self.folder is None:
            return
        self._record(ground, complete=False)
        self.tell(Note(f"interrupted; what is finished is in {self.folder.path}: run the same audit again and it goes on from there"))
        self.tell(Finished(False, time.perf_counter() - self.began, self.folder.path))

    def _record(self, ground: Ground | None, *, complete: bool) -> Record:
        findings = () if ground is None else self._findings(ground, self.doubters if complete else ())
        plan, survey = self.plan, ground.survey if ground else None
        sha = plan_sha256(identity(plan, keep_inputs=self.keep_inputs)) if self.folder is None else self.folder.sha256
        record = Record(
            plan.title,
            target_card(plan, survey),
            data_card(plan),
            findings,
            plan.promises,
            seed=plan.seed,
            plan_sha256=sha,
            command=self.command,
            started=self.started,
            seconds=sum(f.seconds for f in findings) + (survey.seconds if survey else 0.0),
            versions=versions(),
            git=git_state(plan.source.parent if plan.source else Path()),
            complete=complete,
            endpoints=bills_of(plan),
        )
        if self.folder is not None:
            publish(record, self.folder, plan)
        return record

    def _findings(self, ground: Ground, doubters: Sequence[Doubter]) -> tuple[Finding, ...]:
        """A finding for each threat of which anything is finished. Doubters take time, and an incomplete record holds nothing anyway."""
        found: list[Finding] = []
        for siege in self.plan.sieges:
            numbers = self.store.finished(siege, self.chunks)
            chunks = [c for n in numbers if (c := self.store.chunk(siege, n)) is not None]
            if not chunks:
                continue
            found.append(finding(self.plan, siege, ground, chunks, doubters))
            if self.folder is not None and self.keep_inputs:
                write_gallery(self.folder, self.plan, siege, ground, tally(ground, chunks))
        return tuple(found)


def _standing(chunks: Sequence[Chunk]) -> tuple[int, int]:
    """Rows of the denominator in some chunks, and how many of them withstood."""
    rows = [f for c in chunks for f in c.fates if f.eligible]
    return len(rows), sum(not f.broken for f in rows)
