"""The defences of a campaign file, put around its target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vauban.campaign.file.apart import check_apart, like
from vauban.campaign.file.guests import guests
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.target import DefenceTable
from vauban.data import Rows
from vauban.defences import Defence, Design
from vauban.defences import find as registered
from vauban.errors import BadPlan
from vauban.target import Target
from vauban.target.restricted import Restricted, restrict
from vauban.user_code import beside, find, is_code

if TYPE_CHECKING:
    from vauban.campaign.file.plan import Loader


def defended(loader: Loader, model: FileModel, target: Target, data: Rows) -> Target:
    """The target with every `[[defence]]` of the file around it, in order; what lowers its access stays outermost.

    Raises:
        BadPlan, BadData, BadTarget: a defence cannot be had; with file, line and key.
    """
    inner = target.target if isinstance(target, Restricted) else target
    if not model.defence:
        return target
    inner.prepare(data.x[:256].to(inner.device))
    for place, table in enumerate(model.defence):
        rows = _rows(loader, model, table, place, data)
        with loader.source.blaming("defence", place), guests():
            inner = bound_defence(table, loader.source.base).around(inner, rows)
    return restrict(inner, target.access) if isinstance(target, Restricted) else inner


def bound_defence(table: DefenceTable, base: Path = Path()) -> Defence:
    """A defence with its settings, from the registry or from a person's own file.

    Raises:
        BadPlan: no such defence or setting, or a value that it cannot have.
    """
    design = find(table.name, base, BadPlan) if is_code(table.name) else registered(table.name)
    if not isinstance(design, Design):
        raise BadPlan(f"{table.name} is {type(design).__name__}, not a defence; put @defence(...) over the function, from vauban.defences")
    return design.bind(**{name: beside(value, base) for name, value in table.settings.items()})


def _rows(loader: Loader, model: FileModel, table: DefenceTable, place: int, audited: Rows) -> Rows | None:
    if table.data is None:
        return None
    rows = loader.data(like(table.data, model.data), model.seed, "defence", place, "data")
    with loader.source.blaming("defence", place, "data"):
        check_apart(rows, audited, "to fit the defence on")
    return rows
