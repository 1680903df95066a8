"""A sha256 of any picklable model that is the same after a round trip through a file, which a hash of its pickle is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import numpy as np


def fingerprint(model: object) -> str:
    """sha256, in hex, of what `model` is made of: types, numbers, text, arrays (dtype, shape, values), in a fixed order.

    Random generators that a model keeps are left out: they move on while it is used, and training is over.
    """
    digest = hashlib.sha256()
    for word in _words(model, {}):
        digest.update(len(word).to_bytes(8, "little") + word)
    return digest.hexdigest()


def _words(value: object, seen: dict[int, object]) -> Iterator[bytes]:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield f"{type(value).__name__}:{value!r}".encode()
    elif isinstance(value, np.ndarray | np.generic):
        yield from _array(np.asarray(value), seen)
    elif isinstance(value, np.random.RandomState | np.random.Generator):
        yield b"random generator"
    elif isinstance(value, type) or hasattr(value, "__qualname__"):
        yield f"{getattr(value, '__module__', '')}.{cast('Any', value).__qualname__}".encode()
    elif id(value) in seen:
        yield b"again"
    else:
        seen[id(value)] = value  # kept alive, so that its id stays its own
        yield from _compound(value, seen)


def _compound(value: object, seen: dict[int, object]) -> Iterator[bytes]:
    yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
    if isinstance(value, dict):
        for key, item in sorted(cast("dict[object, object]", value).items(), key=lambda pair: repr(pair[0])):
            yield from _words(key, seen)
            yield from _words(item, seen)
    elif isinstance(value, set | frozenset):
        yield from sorted(repr(item).encode() for item in cast("set[object]", value))
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value):
            yield from _words(item, seen)
    else:
        reduced = value.__reduce_ex__(2)
        for part in (reduced,) if isinstance(reduced, str) else reduced:
            yield from _words(list(cast("Iterator[object]", part)) if isinstance(part, Iterator) else part, seen)


def _array(value: np.ndarray[Any, Any], seen: dict[int, object]) -> Iterator[bytes]:
    yield f"{value.shape}".encode()
    if value.dtype.names:  # field by field: the padding between fields is not part of the value
        for name in value.dtype.names:
            yield name.encode()
            yield from _array(value[name], seen)
    elif value.dtype.hasobject:
        for item in value.ravel().tolist():
            yield from _words(item, seen)
    else:
        yield value.dtype.str.encode()
        yield np.ascontiguousarray(value).tobytes()
