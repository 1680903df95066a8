"""The lines of a matrix as campaign files: each is the file with another target, other defences, or a training first."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.campaign.file.model import ContenderTable, DefenceTable, FileModel, HardenTable, MatrixTable, MethodTable
from vauban.defences import DEFENCES
from vauban.defences.training import METHODS
from vauban.errors import BadPlan, nearest

BARE = "undefended"


@dataclass(frozen=True)
class Contender:
    """One line, not loaded yet.

    Attributes:
        label: what it is called.
        file: the campaign file as it would be written for this line alone.
        trains: whether `[harden]` of it must be carried out first.
    """

    label: str
    file: FileModel
    trains: bool = False


def contenders_of(model: FileModel) -> tuple[Contender, ...]:
    """The target of the file as it is without defences, and every line that its `[matrix]` asks for.

    Raises:
        BadPlan: there is no `[matrix]`, a name is no defence and no way of training, or two lines have one label.
    """
    table = model.matrix
    if table is None:
        raise model.source.told(("matrix",), 'no [matrix]; write it with defences = ["jpeg", ...]', inside=False)
    bare = _changed(model, {"defence": [], "harden": None})
    found = [Contender(BARE, bare)]
    if model.defence:
        found.append(Contender("as in the file", model))
    found += [_named(model, table, name, place) for place, name in enumerate(table.defences)]
    found += [_of_table(model, table, given) for given in table.defence]
    labels = [c.label for c in found]
    for label in labels:
        if labels.count(label) > 1:
            raise model.source.told(("matrix",), f"two lines are called {label!r}; give each a label of its own", inside=False)
    return tuple(found)


def _named(model: FileModel, table: MatrixTable, name: str, place: int) -> Contender:
    if name in DEFENCES:
        return Contender(name, _changed(model, {"defence": [_fitted(DefenceTable(name=name), table)], "harden": None}))
    if name in METHODS:
        base = model.harden or HardenTable()
        return Contender(
            name, _changed(model, {"defence": [], "harden": base.model_copy(update={"method": MethodTable(name=name)})}), trains=True
        )
    known = [*DEFENCES, *METHODS]
    raise model.source.told(
        ("matrix", "defences", place), f"{name!r} is no defence and no way of training; {nearest(name, known)}", BadPlan
    )


def _of_table(model: FileModel, table: MatrixTable, given: ContenderTable) -> Contender:
    changes = {k: v for k, v in (("load", given.load), ("weights", given.weights)) if v is not None}
    target = model.target.model_copy(update=changes)
    harden = given.harden
    if harden is not None and harden.data is None and model.harden is not None:
        harden = harden.model_copy(update={"data": model.harden.data})
    defences = [_fitted(d, table) for d in given.defence]
    file = _changed(model, {"target": target, "defence": defences, "harden": harden})
    return Contender(given.label, file, trains=harden is not None)


def _fitted(defence: DefenceTable, table: MatrixTable) -> DefenceTable:
    """A defence that needs clean rows and names none is given those of the matrix."""
    design = DEFENCES.get(defence.name)
    if design is None or not design.facts.fits or defence.data is not None:
        return defence
    return defence.model_copy(update={"data": table.data})


def _changed(model: FileModel, changes: dict[str, object]) -> FileModel:
    """A copy that knows where it was read from, with the suite of the matrix for threats that name no attacks."""
    suite = model.matrix.suite if model.matrix is not None else "vauban"
    threats = [t if t.attack or t.suite else t.model_copy(update={"suite": suite}) for t in model.threat]
    return model.model_copy(update={"matrix": None, "threat": threats, **changes}).read_from(model.source)
