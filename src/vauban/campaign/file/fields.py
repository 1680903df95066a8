"""The kinds of value a person writes in a campaign file, with the sentence each gives when the value is not one."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from vauban.errors import VaubanError, nearest
from vauban.threat import FAMILIES, NORMS, Access, exact, norm_of

FRACTION = 'a number or a fraction such as "8/255"'
SUM = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*(inf|[-+]?\d+(\.\d+)?\s*/\s*\d+|[-+]?\d*\.?\d+([eE][-+]?\d+)?)\s*$"}]
}
NUMBERS = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _fraction(value: Any) -> Any:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise ValueError(f"must be {FRACTION}")
    try:
        exact(value)
    except VaubanError:
        raise ValueError(f"must be {FRACTION}") from None
    return value


def _share(value: Any) -> Any:
    if not _is_number(value):
        raise ValueError("must be a number in [0, 1]")
    if not 0 <= value <= 1:
        hint = f"; did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise ValueError(f"must lie in [0, 1]: it is a share, not a percentage{hint}")
    return float(value)


def _numbers(value: Any) -> Any:
    many = cast("list[object]", value) if isinstance(value, list) else [value]
    if not many or not all(map(_is_number, many)):
        raise ValueError("must be a number, or a list with one number for each channel or feature")
    return value


def _bounds(value: Any) -> Any:
    pair = cast("list[object]", value) if isinstance(value, list) else []
    if len(pair) != 2:
        raise ValueError("must be two values, the least and the greatest input, such as [0, 1]")
    for end in pair:
        _numbers(end)
    return pair


def _access(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('must be a level of access: "none", "label", "score" or "gradient"')
    return Access.parse(value).name.lower()


def _norm(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"must be one of {', '.join(map(repr, NORMS))}")
    norm_of(value)
    return value.lower()


def _threat_norm(value: Any) -> Any:
    return "edits" if isinstance(value, str) and value.lower() == "edits" else _norm(value)


def _words(value: Any) -> Any:
    many = cast("list[object]", value) if isinstance(value, list) else [value]
    if not many or not all(isinstance(v, str) and v.strip() for v in many):
        raise ValueError("must be a word, or a list of words")
    return many


def _families(value: Any) -> Any:
    many = _words(value)
    unknown = next((f for f in many if f not in FAMILIES), None)
    if unknown is not None:
        raise ValueError(f"must be families of edits; {unknown!r} is none: {nearest(unknown, FAMILIES)}")
    return many


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be a regular expression, as text")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    return value


def _mask(value: Any) -> Any:
    flags = cast("list[object]", value) if isinstance(value, list) else None
    if not isinstance(value, str) and not (flags and all(isinstance(v, bool) or v in (0, 1) for v in flags)):
        raise ValueError('must be a list of true and false, one for each feature in C order, or a file such as "mask.npy"')
    return value if flags is None else [bool(v) for v in flags]


def _patch(value: Any) -> Any:
    sides = cast("list[object]", value) if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 1 for s in sides):
        raise ValueError("must be the side of a square in pixels, a whole number of 1 or more, or [height, width]")
    return value


def _goal(value: Any) -> Any:
    if value == "untargeted" or isinstance(value, dict) or hasattr(value, "wanted"):
        return value
    raise ValueError('must be "untargeted", or a table such as { wanted = "live", from = ["spoof"] }')


def goal_form(value: object) -> str:
    """Which of its two forms a goal has: a word, or a table."""
    return "word" if isinstance(value, str) else "table"


def _names(value: Any) -> Any:
    many = cast("list[object]", value) if isinstance(value, list) else [value]
    if not many or not all(isinstance(v, str) for v in many):
        raise ValueError("must be a name, or a list of names")
    return many


def _classes(value: Any) -> Any:
    many = cast("list[object]", value) if isinstance(value, list) else [value]
    if not many or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in many):
        raise ValueError("must be a class, by name or number, or a list of classes")
    return many


def _class(value: Any) -> Any:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError("must be a class, by name or number")
    return value


WORD = {"type": "string", "pattern": r"\S"}
CLASS = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}

Count = Annotated[int, Field(ge=1)]
"""A whole number, 1 or more."""
Seed = Annotated[int, Field(ge=0)]
"""A whole number, 0 or more."""
Fraction = Annotated[float | str, BeforeValidator(_fraction), WithJsonSchema(SUM)]
"""A number, or an exact fraction such as "8/255"."""
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_share)]
"""A number in [0, 1]."""
Numbers = Annotated[float | list[float], BeforeValidator(_numbers), WithJsonSchema(NUMBERS)]
"""One number, or one for each channel or feature."""
Bounds = Annotated[
    list[float | list[float]], BeforeValidator(_bounds), WithJsonSchema({"type": "array", "items": NUMBERS, "minItems": 2, "maxItems": 2})
]
"""The least and the greatest value of the inputs."""
AccessName = Annotated[str, BeforeValidator(_access), WithJsonSchema({"enum": [a.name.lower() for a in Access]})]
NormName = Annotated[str, BeforeValidator(_norm), WithJsonSchema({"enum": list(NORMS)})]
ThreatNorm = Annotated[str, BeforeValidator(_threat_norm), WithJsonSchema({"enum": [*NORMS, "edits"]})]
"""A norm, or "edits" for texts."""
Words = Annotated[
    list[str],
    BeforeValidator(_words),
    WithJsonSchema({"anyOf": [WORD, {"type": "array", "items": WORD, "minItems": 1}]}),
]
EditFamilies = Annotated[
    list[str],
    BeforeValidator(_families),
    WithJsonSchema({"anyOf": [{"enum": list(FAMILIES)}, {"type": "array", "items": {"enum": list(FAMILIES)}, "minItems": 1}]}),
]
Pattern = Annotated[str, BeforeValidator(_pattern), WithJsonSchema({"type": "string", "format": "regex"})]
MaskOf = Annotated[
    str | list[bool],
    BeforeValidator(_mask),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "boolean"}, "minItems": 1}, {"type": "string"}]}),
]
SIDE = {"type": "integer", "minimum": 1}
PatchSize = Annotated[
    int | list[int],
    BeforeValidator(_patch),
    WithJsonSchema({"anyOf": [SIDE, {"type": "array", "items": SIDE, "minItems": 2, "maxItems": 2}]}),
]
"""The side of a square in pixels, or [height, width]."""
Names = Annotated[
    list[str],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
Class = Annotated[int | str, BeforeValidator(_class), WithJsonSchema(CLASS)]
Classes = Annotated[
    list[int | str], BeforeValidator(_classes), WithJsonSchema({"anyOf": [CLASS, {"type": "array", "items": CLASS, "minItems": 1}]})
]
GoalForm = BeforeValidator(_goal)
