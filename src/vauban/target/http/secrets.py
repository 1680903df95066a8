"""Secrets: read from the environment when a request is made, and struck out of every text that leaves this package."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from vauban.errors import BadPlan

NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
TELLING = re.compile(r"auth|cookie|secret|token|passw|credential|signature|(^|[-_])(api)?[-_]?key$", re.IGNORECASE)
"""Names of headers and parameters whose values are secrets."""
STRUCK = "[secret]"


class Secrets:
    """The secrets that some templates name.

    Args:
        said: what was written for headers, query and body; `${NAME}` in any text names an environment variable.

    Raises:
        BadPlan: a variable is not set.
    """

    def __init__(self, *said: object) -> None:
        self._values = {name: _read(name) for name in sorted(set(_names(said)))}

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that are read."""
        return tuple(self._values)

    def filled(self, template: Any) -> Any:
        """A text, list or mapping with every `${NAME}` replaced."""
        if isinstance(template, str):
            return NAME.sub(lambda m: self._values[m[1]], template)
        if isinstance(template, Mapping):
            return {k: self.filled(v) for k, v in cast("Mapping[str, Any]", template).items()}
        return [self.filled(v) for v in cast("list[Any]", template)] if isinstance(template, list | tuple) else template

    def struck(self, text: str) -> str:
        """A text without the secrets in it, as they are, as in a URL, and in base64."""
        for value in sorted(self._values.values(), key=len, reverse=True):
            for form in (value, quote(value, safe=""), base64.b64encode(value.encode()).decode()):
                text = text.replace(form, STRUCK)
        return text


def check_written(fields: Mapping[str, str], where: str) -> None:
    """Headers or parameters as a person wrote them.

    Raises:
        BadPlan: one that is a secret by its name holds the secret itself.
    """
    for name, value in fields.items():
        if TELLING.search(name) and not NAME.search(value):
            raise BadPlan(
                f'{where}: {name} holds a secret, which has no place in a file: write "${{NAME}}" and set NAME in the environment'
            )


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        return NAME.findall(value)
    if isinstance(value, Mapping):
        return [n for v in cast("Mapping[str, object]", value).values() for n in _names(v)]
    return [n for v in cast("list[object]", value) for n in _names(v)] if isinstance(value, list | tuple) else []


def _read(name: str) -> str:
    value = os.environ.get(name, "")
    if len(value) < 4:
        raise BadPlan(f"the environment variable {name} is {'too short for a secret' if value else 'not set'}; it is named by ${{{name}}}")
    return value
