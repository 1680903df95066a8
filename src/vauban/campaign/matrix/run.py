"""A matrix from its file to its table: line by line, trained where it must be, gone on with where it was left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from vauban.attacks import Attack
from vauban.campaign.file.attackers import bound_attack
from vauban.campaign.file.hardening import hardening_of
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.plan import plan_of
from vauban.campaign.file.threat import AttackTable
from vauban.campaign.matrix.cells import Cells, Tell
from vauban.campaign.matrix.contenders import Contender, contenders_of, matrix_table
from vauban.campaign.matrix.cost import inference, memory
from vauban.campaign.matrix.result import Line, Matrix
from vauban.campaign.plan import Plan
from vauban.campaign.run import Progress, quiet
from vauban.campaign.run.identity import versions
from vauban.campaign.run.survey import by_id, introduce
from vauban.data import Rows, fingerprint
from vauban.defences.training import Hardened, Tick, TrainingStopped, harden
from vauban.errors import BadData, BadTarget, NotGranted, Unsupported
from vauban.target import Target
from vauban.target.around import worn_by

NOT_THIS_ONE = (BadData, BadTarget, NotGranted, TrainingStopped, Unsupported)
"""What one line cannot do is told in its place, and the others go on; a mistake in the file ends the whole."""


@dataclass(frozen=True)
class Listeners:
    """Who is told what happens: words before each cell, events of the audits, ticks of trainings, and the matrix after every line."""

    tell: Tell = lambda _: None
    progress: Progress = quiet
    tick: Callable[[Tick], None] = lambda _: None
    so_far: Callable[[Matrix], None] = lambda _: None


def matrix_of(model: FileModel, path: Path, *, trust_pickle: bool = False, listeners: Listeners | None = None) -> Matrix:
    """Measure every line of a file's `[matrix]`, or go on with it.

    Everything is kept under the folder that `[matrix]` names: trainings with their checkpoints, audits, and single attacks by the hash of all that
    they depend on. The same call does nothing twice.

    Raises:
        BadPlan: something in the file cannot be meant; a line that cannot be measured is told in its place instead.
        BadRun: the folder cannot be read or written.
    """
    heard, began, table = listeners or Listeners(), time.perf_counter(), matrix_table(model)
    contenders, folder = contenders_of(model), path.parent / table.folder
    columns = tuple(bound_column(model, place, given) for place, given in enumerate(table.attacks))
    maker = _Maker(folder, path, columns, table.queries, trust_pickle, heard)
    data = plan_of(contenders[0].file, path, trust_pickle=trust_pickle).data
    whole = _empty(model, columns, data)
    for contender in contenders:
        whole = replace(whole, lines=(*whole.lines, maker.line(contender)), seconds=time.perf_counter() - began)
        heard.so_far(replace(whole, complete=len(whole.lines) == len(contenders)))
    return whole


def bound_column(model: FileModel, place: int, given: str | AttackTable) -> Attack:
    """An attack that is a column, bound; errors name its place."""
    with model.source.blaming("matrix", "attacks", place):
        table = AttackTable(name=given) if isinstance(given, str) else given
        return bound_attack(table, model.source.base)


def _empty(model: FileModel, columns: Iterable[Attack], data: Rows) -> Matrix:
    names = tuple(t.name for t in model.threat)
    return Matrix(
        model.title or "defences", data.name, len(data), names, tuple(a.name for a in columns), (), model.seed, versions=versions()
    )


@dataclass
class _Maker:
    """Measures the lines of one matrix; the first one is the undefended target, which the others are compared with."""

    folder: Path
    path: Path
    columns: tuple[Attack, ...]
    queries: int
    trust_pickle: bool
    heard: Listeners
    bare: Target | None = None

    def line(self, contender: Contender) -> Line:
        """One line: trained where it must be, put behind its defences, attacked, timed."""
        try:
            trained = self._trained(contender) if contender.way else None
            file = contender.file if trained is None else _with_weights(contender.file, trained, self.path.parent)
            plan = plan_of(file, self.path, trust_pickle=self.trust_pickle)
            return self._measured(contender, plan, trained)
        except NOT_THIS_ONE as error:
            if self.bare is None:
                raise
            return Line(contender.label, failed=str(error))

    def _measured(self, contender: Contender, plan: Plan, trained: Hardened | None) -> Line:
        introduce(plan, by_id(plan.data))  # parts are kept by what a target is, and whether it rejects is known only now
        cells = Cells(self.folder, self.heard.tell, self.heard.progress)
        stood = tuple(cells.stand(contender.label, plan, siege, self.columns, self.queries, self.bare) for siege in plan.sieges)
        wears = (*([contender.way] if contender.way else ()), *(w.name for w in worn_by(plan.target)))
        bare = self.bare = self.bare or plan.target
        cost = 1.0 if plan.target is self.bare else cells.timed(plan, lambda: inference(plan.target, bare, plan.data.x))
        return Line(
            contender.label,
            wears,
            stood[0][1],
            tuple(stand for stand, _ in stood),
            None if trained is None else trained.cost,
            cost,
            memory(plan.target),
        )

    def _trained(self, contender: Contender) -> Hardened:
        """The training of a line, whose folder is named by what it depends on."""
        todo = hardening_of(contender.file, self.path, trust_pickle=self.trust_pickle)
        said = (todo.method.name, dict(todo.method.settings), todo.recipe, todo.threat, todo.attack.name, dict(todo.attack.settings))
        rows = fingerprint(todo.rows.x, todo.rows.y)
        key = sha256(f"{said} {rows} {todo.target.sha256()}".encode()).hexdigest()[:16]
        self.heard.tell(f"{contender.label}: training")
        return harden(
            todo.target, todo.rows, todo.threat, todo.attack, todo.recipe, method=todo.method,
            checkpoint=self.folder / "trained" / key, progress=self.heard.tick,
        )  # fmt: skip


def _with_weights(file: FileModel, trained: Hardened, base: Path) -> FileModel:
    """The file with the trained weights, by a path from where it lies: a folder that is moved keeps what was measured."""
    weights = None if trained.path is None else Path(os.path.relpath(trained.path, base)).as_posix()
    target = file.target.model_copy(update={"weights": weights})
    return file.model_copy(update={"target": target}).read_from(file.source)
