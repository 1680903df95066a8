"""An endpoint from plain values, as a campaign file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vauban.errors import BadPlan
from vauban.target.http.settings import Answer, Authorisation, Budget, Cost, Probe, Rate, Request, Retry, Timeout
from vauban.target.http.target import Http

PARTS = {
    "authorisation": Authorisation, "request": Request, "answer": Answer, "retry": Retry, "timeout": Timeout, "rate": Rate,
    "budget": Budget, "cost": Cost, "probe": Probe,
}  # fmt: skip


def http_of(url: str, said: Mapping[str, Any]) -> Http:
    """The target at an address: for each argument of `Http` its value, for those that are values of their own a mapping of their fields.

    Raises:
        BadPlan, NotAuthorised: they cannot be meant.
    """
    return Http(url, **{name: _part(name, value) for name, value in said.items()})


def _part(name: str, value: Any) -> Any:
    if name not in PARTS:
        return value
    try:
        return msgspec.convert(value, PARTS[name], strict=False)
    except msgspec.ValidationError as error:
        raise BadPlan(f"{name}: {error}") from error
