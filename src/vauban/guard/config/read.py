"""Read `guard.toml`; whatever is wrong is told in one sentence with file, line and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vauban.errors import BadGuard, nearest
from vauban.guard.config.model import GuardFile
from vauban.toml import Where, line_at, parsed, text_of


def read_guard(path: str | Path) -> GuardFile:
    """The configuration at `path`, checked as far as it can be without opening anything.

    Raises:
        BadGuard: there is no such file, it is not TOML, or something in it cannot be meant.
    """
    where = Path(path)
    raw, lines = parsed(text_of(where, BadGuard, "`vauban guard init` writes one"), where, BadGuard)
    try:
        return GuardFile.model_validate(raw).read_from(where.parent)
    except ValidationError as error:
        found = [_told(where, lines, e) for e in error.errors()]
        raise BadGuard(min(found)[2]) from error


def _told(path: Path, lines: dict[Where, int], error: ErrorDetails) -> tuple[bool, int, str]:
    """One complaint as (whether something is missing, line, sentence)."""
    where: Where = tuple(error["loc"])
    line, key = line_at(lines, where), str(where[-1]) if where else ""
    table = f"[{'.'.join(str(s) for s in where[:-1] if isinstance(s, str))}] " if len(where) > 1 else ""
    if error["type"] == "extra_forbidden":
        said = f"no key {key!r} is known here; {nearest(key, _known(where[:-1]))}"
    elif error["type"] == "missing":
        said = f"the key {key!r} is missing"
    else:
        message = re.sub(r"^(Value error,|Input|String) ?", "", error["msg"])
        said = message if not where or isinstance(error["input"], dict) else f"{key} = {error['input']!r} {message}"
    return error["type"] == "missing", line, f"{path}:{line}: {table}{said}"


def _known(where: Where) -> list[str]:
    """The keys of the table at a place."""
    table: Any = GuardFile
    for step in where:
        if isinstance(step, str):
            table = _inner(table.model_fields[step].annotation)
    return list(cast("type[BaseModel]", table).model_fields)


def _inner(annotation: Any) -> Any:
    """The model that an annotation is about: itself, or what a tuple holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return _inner(get_args(annotation)[0])
