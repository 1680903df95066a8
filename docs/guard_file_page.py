"""The page of `guard.toml`, from the model that reads it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

from campaign_file_page import type_of
from page_parts import entries_of, table
from pydantic import BaseModel

from vauban.guard.config.model import GuardFile


def guard_file_page() -> str:
    """The keys of `guard.toml`, table by table."""
    parts = [
        "# guard.toml",
        "`vauban guard init` writes one, `vauban serve` reads it, `vauban guard check` holds it against a policy. Unknown keys are refused, with the "
        'line and the nearest known name. Paths are relative to the file. Durations are seconds or texts such as `"15m"`, `"24h"`, `"90d"`. What '
        "is not written has its default, and the defaults are the banking recommendation.",
        "## The top of the file",
        _keys(GuardFile),
    ]
    for section in _sections(GuardFile):
        head, _, rest = inspect.cleandoc(section.__doc__ or "").partition(": ")
        said = rest.partition("\nAttributes:")[0].strip()
        parts += [f"## {head}", said[:1].upper() + said[1:], _keys(section)]
    return "\n\n".join(parts) + "\n"


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The tables of the file, in their order."""
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield kind


def _keys(model: type[BaseModel]) -> str:
    schema, meanings = model.model_json_schema(), _meanings(model)
    sections = {name for name, field in model.model_fields.items() if model is GuardFile and _is_section(field.annotation)}
    rows: list[list[str]] = []
    for key, value in schema["properties"].items():
        if key in sections:
            continue
        default = "needed" if key in schema.get("required", ()) else _default(value.get("default"))
        rows.append([f"`{key}`", type_of(value), default, meanings.get(key, "")])
    return table(["key", "value", "default", "meaning"], rows)


def _is_section(annotation: Any) -> bool:
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in (annotation, *get_args(annotation)))


def _default(value: Any) -> str:
    if value in (None, [], ""):
        return ""
    if isinstance(value, dict):
        return "`{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + " }`"
    return f"`{json.dumps(value)}`"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring says of each key; "days, queries: ..." speaks of both."""
    found: dict[str, str] = {}
    for names, meaning in entries_of(model, "Attributes"):
        found |= dict.fromkeys(re.split(r", *", names), meaning)
    return found
