"""The settings of a registered function: read from its signature, checked against its annotations, bound to values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from vauban.errors import BadPlan, nearest
from vauban.threat import exact

Count = Annotated[int, Field(ge=1)]
"""A whole number, 1 or more."""
Positive = Annotated[float, BeforeValidator(exact), Field(gt=0, allow_inf_nan=False)]
"""A positive number, or a fraction such as "2/255"."""
Natural = Annotated[float, BeforeValidator(exact), Field(ge=0, allow_inf_nan=False)]
"""A number, 0 or more."""
Share = Annotated[float, BeforeValidator(exact), Field(ge=0, le=1)]
"""A number in [0, 1]."""


class Settings:
    """What a function can be told besides what it acts on.

    Args:
        what: how errors call it, such as "attack 'pgd'".
        function: the function.
        given: how many of its first parameters are no settings.
        preset: other defaults than the function's own.
    """

    def __init__(self, what: str, function: Callable[..., Any], given: int, preset: Mapping[str, Any]) -> None:
        self.what, self.function, self.given, self.preset = what, function, given, preset

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Every setting by name, with its default."""
        found = dict(list(inspect.signature(self.function).parameters.items())[self.given :])
        return {name: p.replace(default=self.preset.get(name, p.default)) for name, p in found.items()}

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        hints = get_type_hints(self.function, include_extras=True)
        return {name: TypeAdapter[Any](hints.get(name, Any), config=ConfigDict(arbitrary_types_allowed=True)) for name in self.parameters}

    def bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting with its value: as given, or its default.

        Raises:
            BadPlan: an unknown setting, one that is needed and not given, or a value of the wrong kind or out of range.
        """
        parameters = self.parameters
        if len(args) > len(parameters):
            raise BadPlan(f"{self.what} takes at most {len(parameters)} settings, and {len(args)} were given")
        placed = dict(zip(parameters, args, strict=False))
        for name, value in named.items():
            if name not in parameters:
                raise BadPlan(f"{self.what} has no setting {name!r}; {nearest(name, parameters)}")
            if name in placed:
                raise BadPlan(f"{self.what}: the setting {name!r} is given twice, as {placed[name]!r} and as {value!r}")
        chosen = {**placed, **named}
        return {name: self._checked(name, chosen.get(name, p.default)) for name, p in parameters.items()}

    def _checked(self, name: str, value: object) -> Any:
        if value is inspect.Parameter.empty:
            raise BadPlan(f"{self.what} needs the setting {name!r}")
        try:
            return self._adapters[name].validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("Value error, ")
            why = why.removeprefix(f"a number = {value!r} ").removeprefix("a number ")
            raise BadPlan(f"{self.what}: {name} = {value!r} {why}") from error
