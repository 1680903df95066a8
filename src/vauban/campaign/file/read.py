"""Read a campaign file and check it; whatever is wrong is told in one sentence with file, line and key. Needs no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vauban.campaign.file.harden import HardenTable, MethodTable
from vauban.campaign.file.http import (
    AnswerTable,
    AuthorisationTable,
    BudgetTable,
    CostTable,
    GuardTable,
    HttpTable,
    ProbeTable,
    RateTable,
    RequestTable,
    RetryTable,
    TimeoutTable,
)
from vauban.campaign.file.kinds import check_kinds, findings_of
from vauban.campaign.file.matrix import ContenderTable, MatrixTable
from vauban.campaign.file.model import FileModel, PromiseTable, RunTable
from vauban.campaign.file.source import ARRAYS, Source
from vauban.campaign.file.target import DataTable, DefenceTable, TargetTable
from vauban.campaign.file.threat import AttackTable, FeaturesTable, GoalTable, SurrogateTable, ThreatTable
from vauban.campaign.record import Promise
from vauban.errors import BadPlan, VaubanError, nearest
from vauban.toml import Where, line_at, parsed, text_of

TABLES: dict[str, type[BaseModel]] = {
    "target": TargetTable,
    "defence": DefenceTable,
    "data": DataTable,
    "surrogate": SurrogateTable,
    "threat": ThreatTable,
    "attack": AttackTable,
    "goal": GoalTable,
    "features": FeaturesTable,
    "promise": PromiseTable,
    "run": RunTable,
    "harden": HardenTable,
    "matrix": MatrixTable,
    "matrix.defence": ContenderTable,
    "method": MethodTable,
    "http": HttpTable,
    "guard": GuardTable,
    "authorisation": AuthorisationTable,
    "request": RequestTable,
    "answer": AnswerTable,
    "retry": RetryTable,
    "timeout": TimeoutTable,
    "rate": RateTable,
    "budget": BudgetTable,
    "cost": CostTable,
    "probe": ProbeTable,
}
FORMS = {
    "list_type": "must be an array of tables; write [[{key}]]",
    "model_type": "must be a table; write [{key}]",
    "dict_type": "must be a table; write [{key}]",
}


def read_file(path: str | Path) -> FileModel:
    """The campaign file at `path`, checked as far as it can be without loading anything.

    Raises:
        BadPlan: there is no such file, it is not TOML, or something in it cannot be meant.
    """
    where = Path(path)
    text = text_of(where, BadPlan, "`vauban init` writes one")
    return read_text(text, where)


def read_text(text: str, path: str | Path = "vauban.toml") -> FileModel:
    """A campaign written as text; `path` is what errors call it, and its folder what paths in it are relative to."""
    source = Source(Path(path), *parsed(text, Path(path), BadPlan))
    try:
        model = FileModel.model_validate(source.raw)
    except ValidationError as error:
        raise min((_told(source, e) for e in error.errors()), key=lambda told: told[0])[1] from error
    check_names(model.read_from(source))
    return model


def settled(model: FileModel, path: str | Path | None) -> tuple[Source, tuple[Promise, ...]]:
    """Where a file lies, by default where it was read from, and what it promises; its names are checked, for code may have made it.

    Raises:
        BadPlan: as `check_names`.
    """
    check_names(model)
    source = model.source if path is None else Source(Path(path), model.source.raw, model.source.lines)
    return source, tuple(Promise(name, p.robust_accuracy, p.clean_accuracy) for name, p in model.promise.items())


def check_names(model: FileModel) -> None:
    """Names that must be distinct, or known elsewhere in the file; and keys that must go together.

    Raises:
        BadPlan: two threats or surrogates of one name; a promise or training for an unknown threat; an unknown surrogate; keys about texts where
            the data are numbers, or the other way round.
    """
    source = model.source
    _check_distinct(model)
    check_kinds(model)
    promised = findings_of(model)
    threats, surrogates = [t.name for t in model.threat], [s.name for s in model.surrogate]
    for name, promise in model.promise.items():
        if name not in promised:
            raise source.told(("promise", name), f"no threat is named {name!r}; {nearest(name, promised)}")
        if promise.robust_accuracy is None and promise.clean_accuracy is None:
            raise source.told(("promise", name), "promises nothing; say robust_accuracy or clean_accuracy", inside=False)
    for i, name in ((i, name) for i, t in enumerate(model.threat) for name in t.surrogate or ()):
        if name not in surrogates:
            raise source.told(("threat", i, "surrogate"), f"no [[surrogate]] is named {name!r}; {nearest(name, surrogates)}")
    if model.harden and model.harden.threat is not None and model.harden.threat not in threats:
        raise source.told(("harden", "threat"), f"no threat is named {model.harden.threat!r}; {nearest(model.harden.threat, threats)}")


def _check_distinct(model: FileModel) -> None:
    source = model.source
    for kind, names in (("threat", [t.name for t in model.threat]), ("surrogate", [s.name for s in model.surrogate])):
        for i, name in enumerate(names):
            if name in names[:i]:
                first = line_at(source.lines, (kind, names.index(name), "name"))
                raise source.told((kind, i, "name"), f"a {kind} of this name stands in line {first} already; give each a name of its own")


def _told(source: Source, error: ErrorDetails) -> tuple[tuple[bool, int], VaubanError]:
    """One complaint of pydantic's as (rank, sentence): what is missing comes last, for a misspelt key is the cause of a missing one."""
    where, whole = _written(source, error)
    key = str(where[-1]) if where else ""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        message = f"no key {key!r} is known here; {nearest(key, _known(where))}"
    elif kind == "missing":
        known = ", such as [[threat]] with a name and an eps" if where == ("threat",) else ""
        message = f"{_form(where)} is missing{known}"
    elif kind in FORMS and not (kind == "list_type" and key not in ARRAYS):
        message = f"{key} {FORMS[kind].format(key='.'.join(str(s) for s in where if isinstance(s, str)))}"
    else:
        message = _wrong(key, value, error, whole=whole)
    return (kind == "missing", line_at(source.lines, where)), source.told(where, message, inside=not whole)


def _written(source: Source, error: ErrorDetails) -> tuple[Where, bool]:
    """The place that a complaint is about, without the names of alternatives that pydantic adds; and whether it is a whole table."""
    where: Where = ()
    last = len(error["loc"]) - 1
    for i, step in enumerate(error["loc"]):
        around = source.at(where)
        there = source.at((*where, step)) is not None
        if there or (i == last and isinstance(around, dict) and error["type"] in ("missing", "extra_forbidden")):
            where = (*where, step)
    return where, error["type"] == "value_error" and isinstance(source.at(where), dict) and where[-1:] != ("goal",)


def _wrong(key: str, value: object, error: ErrorDetails, *, whole: bool) -> str:
    if error["type"] in ("string_pattern_mismatch", "string_too_short"):
        return f"{key} = {_short(value)} must not be empty"
    message = re.sub(r"^(Input|Value error,|String|List|Dictionary) ?", "", error["msg"]).replace("\n", " ")
    if whole or message.startswith(f"{key} "):
        return message
    return f"{key} = {_short(value)} {message}"


def _short(value: object) -> str:
    """A value as TOML, cut where it is long."""
    text = value if isinstance(value, float) else json.dumps(value, default=str, ensure_ascii=False)
    return str(text) if len(str(text)) <= 60 else f"{str(text)[:57]}..."


def _form(where: Where) -> str:
    key = str(where[-1])
    if where == ("threat",):
        return "[[threat]]"
    return f"[{key}]" if where in (("target",), ("data",)) else f"the key {key!r}"


def _known(where: Where) -> list[str]:
    """The keys that the table around a place may have."""
    names = [step for step in where[:-1] if isinstance(step, str)]
    paths = [".".join(names[-2:]), *reversed(names)]
    table = next((TABLES[path] for path in paths if path in TABLES), FileModel)
    fields: dict[str, Any] = cast("dict[str, Any]", table.model_fields)
    return [f.alias or name for name, f in fields.items()]
