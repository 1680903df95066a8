"""The one way to write a value as JSON: what is signed, chained or compared byte by byte is written so."""

from __future__ import annotations

import json
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: Any) -> str:
    """Sorted keys, no blanks, ASCII, no NaN.

    Raises:
        ValueError: a number that is not finite.

    >>> canonical({"b": 1, "a": [True, None, "é"]})
    '{"a":[true,null,"\\\\u00e9"],"b":1}'
    """
    return _ENCODER.encode(value)
