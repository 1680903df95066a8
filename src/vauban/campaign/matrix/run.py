"""A matrix from its file to its table: line by line, trained where it must be, gone on with where it was left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vauban.attacks import Attack
from vauban.campaign.file.attackers import bound_attack
from vauban.campaign.file.hardening import hardening_of
from vauban.campaign.file.model import AttackTable, FileModel
from vauban.campaign.file.plan import plan_of
from vauban.campaign.matrix.cells import Cells, Tell
from vauban.campaign.matrix.contenders import Contender, contenders_of
from vauban.campaign.matrix.cost import inference, memory
from vauban.campaign.matrix.result import Line, Matrix
from vauban.campaign.plan import Plan
from vauban.campaign.run import Progress, quiet
from vauban.campaign.run.identity import versions
from vauban.data import fingerprint
from vauban.defences.training import Hardened, Tick, TrainingStopped, harden
from vauban.errors import BadData, BadPlan, BadTarget, NotGranted, Unsupported
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
    heard, began = listeners or Listeners(), time.perf_counter()
    contenders, table = contenders_of(model), model.matrix
    if table is None:
        raise BadPlan("no [matrix]")
    folder = path.parent / table.folder
    columns = tuple(bound_column(model, place, given) for place, given in enumerate(table.attacks))
    maker = _Maker(folder, path, columns, table.queries, trust_pickle, heard)
    whole = _empty(model, columns, path, trust_pickle)
    for contender in contenders:
        whole = replace(whole, lines=(*whole.lines, maker.line(contender)), seconds=time.perf_counter() - began)
        heard.so_far(replace(whole, complete=len(whole.lines) == len(contenders)))
    return whole


def bound_column(model: FileModel, place: int, given: str | AttackTable) -> Attack:
    """An attack that is a column, bound; errors name its place."""
    with model.source.blaming("matrix", "attacks", place):
        table = AttackTable(name=given) if isinstance(given, str) else given
        return bound_attack(table, model.source.base)


def _empty(model: FileModel, columns: Iterable[Attack], path: Path, trust_pickle: bool) -> Matrix:
    data = plan_of(contenders_of(model)[0].file, path, trust_pickle=trust_pickle).data
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
            trained = self._trained(contender) if contender.trains else None
            file = contender.file if trained is None else _with_weights(contender.file, trained)
            plan = plan_of(file, self.path, trust_pickle=self.trust_pickle)
            return self._measured(contender, plan, trained)
        except NOT_THIS_ONE as error:
            if self.bare is None:
                raise
            return Line(contender.label, failed=str(error))

    def _measured(self, contender: Contender, plan: Plan, trained: Hardened | None) -> Line:
        cells = Cells(self.folder, self.heard.tell, self.heard.progress)
        stood = tuple(cells.stand(contender.label, plan, siege, self.columns, self.queries, self.bare) for siege in plan.sieges)
        method = () if not contender.trains or contender.file.harden is None else (contender.file.harden.method.name,)
        wears = (*method, *(w.name for w in worn_by(plan.target)))
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
        key = fingerprint(todo.rows.x, todo.rows.y)[:8] + "-" + _short(repr(said) + todo.target.sha256())
        self.heard.tell(f"{contender.label}: training")
        return harden(
            todo.target, todo.rows, todo.threat, todo.attack, todo.recipe, method=todo.method,
            checkpoint=self.folder / "trained" / key, progress=self.heard.tick,
        )  # fmt: skip


def _short(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:16]


def _with_weights(file: FileModel, trained: Hardened) -> FileModel:
    weights = str(trained.path.resolve()) if trained.path is not None else None
    target = file.target.model_copy(update={"weights": weights})
    return file.model_copy(update={"target": target}).read_from(file.source)
