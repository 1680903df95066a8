"""What a step before a model is made of, in words, so that a fingerprint tells two of them apart."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from torch import Tensor, nn


def told(step: object) -> str:
    """A step by its name, its settings, and a hash of the tensors it was fitted to; a function by its name alone; what has a `sha256()`, by that.

    >>> class Levels:
    ...     def __init__(self, count):
    ...         self.count = count
    >>> told(Levels(4)) == told(Levels(16)), told(Levels(4)) == told(Levels(4))
    (False, True)
    """
    if isinstance(step, functools.partial):
        given: functools.partial[Any] = step
        return f"{told(given.func)}({_value(given.args)}, {_value(given.keywords)})"
    if not isinstance(step, type) and callable(own := getattr(step, "sha256", None)):
        return str(own())
    if hasattr(step, "__qualname__"):
        return _name(step)
    owned = dict(step.state_dict()) if isinstance(step, nn.Module) else vars(step) if hasattr(step, "__dict__") else {}
    return f"{_name(type(step))}({', '.join(f'{name}={_value(value)}' for name, value in sorted(owned.items()))})"


def _name(named: Any) -> str:
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _value(value: object) -> str:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        return f"{plain.dtype}{tuple(plain.shape)}{hashlib.sha256(plain.numpy().tobytes()).hexdigest()}"
    if isinstance(value, dict):
        items: dict[Any, Any] = value
        return f"{{{', '.join(f'{k}: {_value(v)}' for k, v in sorted(items.items()))}}}"
    if isinstance(value, list | tuple):
        several: list[Any] = list(value)
        return f"[{', '.join(map(_value, several))}]"
    return repr(value) if value is None or isinstance(value, bool | int | float | str | bytes) else told(value)
