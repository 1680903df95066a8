"""Seals show that what is signed for a backend is what the guard wrote into its tables, and not somebody else with a hand in the database."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from vauban.errors import GuardDown
from vauban.guard.canonical import canonical


def seal_of_attempt(key: bytes, attempt: int, session: str, accept: bool, at: float) -> bytes:
    """The code of a decision: HMAC-SHA-256 over the attempt's number, the SHA-256 of its session's id, what was decided and when."""
    return hmac.digest(key, canonical(["vauban attempt", attempt, session, accept, at]).encode(), "sha256")


def seal_of_outcome(key: bytes, session: str, told: Mapping[str, Any]) -> str:
    """The code of what a session came to, hexadecimal."""
    return hmac.digest(key, canonical(["vauban outcome", session, dict(told)]).encode(), "sha256").hex()


def require_same(found: bytes | str | None, expected: bytes | str, what: str) -> None:
    """Check a seal.

    Raises:
        GuardDown: it is another one, or none: nothing is signed.
    """
    kinds = type(expected)
    if not isinstance(found, kinds) or not hmac.compare_digest(found, expected):  # type: ignore[type-var]
        raise GuardDown(f"{what} is not what this guard wrote: the database was changed by somebody else")
