"""The lines of a matrix as campaign files: each is the file with another target, other defences, or a training first."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.campaign.file.defended import bound_defence
from vauban.campaign.file.harden import HardenTable, MethodTable
from vauban.campaign.file.hardening import bound_method
from vauban.campaign.file.matrix import ContenderTable, MatrixTable
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.target import DefenceTable
from vauban.defences import DEFENCES
from vauban.defences.training import METHODS
from vauban.errors import BadPlan, nearest
from vauban.toml import Where

BARE = "undefended"


@dataclass(frozen=True)
class Contender:
    """One line, not loaded yet.

    Attributes:
        label: what it is called.
        file: the campaign file as it would be written for this line alone.
    """

    label: str
    file: FileModel

    @property
    def way(self) -> str:
        """The way it is trained first; empty where it is not."""
        return "" if self.file.harden is None else self.file.harden.method.name


def matrix_table(model: FileModel) -> MatrixTable:
    """The `[matrix]` of a file.

    Raises:
        BadPlan: there is none.
    """
    if model.matrix is None:
        raise model.source.told(("matrix",), 'no [matrix]; write it with defences = ["jpeg", ...]', inside=False)
    return model.matrix


def contenders_of(model: FileModel) -> tuple[Contender, ...]:
    """The target of the file as it is without defences, and every line that its `[matrix]` asks for.

    Raises:
        BadPlan: there is no `[matrix]`, a line cannot be meant, or two lines have one label; with file, line and key.
    """
    table = matrix_table(model)
    found = [Contender(BARE, _changed(model, defence=[], harden=None))]
    if model.defence:
        found.append(Contender("as in the file", _changed(model, harden=None)))
    found += [_named(model, table, name, place) for place, name in enumerate(table.defences)]
    found += [_of_table(model, table, given, place) for place, given in enumerate(table.defence)]
    labels = [c.label for c in found]
    for label in labels:
        if labels.count(label) > 1:
            raise model.source.told(("matrix",), f"two lines are called {label!r}; give each a label of its own", inside=False)
    return tuple(found)


def _named(model: FileModel, table: MatrixTable, name: str, place: int) -> Contender:
    if name in DEFENCES:
        return Contender(name, _changed(model, defence=[_fitted(model, DefenceTable(name=name), table, "defences", place)], harden=None))
    if name in METHODS:
        base = model.harden or HardenTable()
        return Contender(name, _changed(model, defence=[], harden=base.model_copy(update={"method": MethodTable(name=name)})))
    known = [*DEFENCES, *METHODS]
    raise model.source.told(("matrix", "defences", place), f"{name!r} is no defence and no way of training; {nearest(name, known)}")


def _of_table(model: FileModel, table: MatrixTable, given: ContenderTable, place: int) -> Contender:
    changes = {k: v for k, v in (("load", given.load), ("weights", given.weights)) if v is not None}
    target = model.target.model_copy(update=changes)
    harden = given.harden
    if harden is not None:
        with model.source.blaming("matrix", "defence", place, "harden", "method"):
            bound_method(harden.method, model.source.base)
    if harden is not None and harden.data is None and model.harden is not None:
        harden = harden.model_copy(update={"data": model.harden.data})
    defences = [_fitted(model, d, table, "defence", place, "defence", i) for i, d in enumerate(given.defence)]
    return Contender(given.label, _changed(model, target=target, defence=defences, harden=harden))


def _fitted(model: FileModel, table: DefenceTable, matrix: MatrixTable, *where: str | int) -> DefenceTable:
    """A defence, checked before anything is measured; where it needs clean rows and names none it is given those of the matrix."""
    place: Where = ("matrix", *where)
    with model.source.blaming(*place):
        fits = bound_defence(table, model.source.base).facts.fits
    if not fits or table.data is not None:
        return table
    if matrix.data is None:
        message = f"{table.name!r} is fitted on clean rows; add data = ... to [matrix], rows that the audit does not use"
        raise model.source.told(place, message, BadPlan, inside=False)
    return table.model_copy(update={"data": matrix.data})


def _changed(model: FileModel, **changes: object) -> FileModel:
    """A copy that knows where it was read from, with the suite of the matrix for threats that name no attacks."""
    suite = matrix_table(model).suite
    threats = [t if t.attack or t.suite else t.model_copy(update={"suite": suite}) for t in model.threat]
    return model.model_copy(update={"matrix": None, "threat": threats, **changes}).read_from(model.source)
