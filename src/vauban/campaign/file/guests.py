"""Attacks that a person's code brings with it while it is loaded: they stay theirs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from vauban.attacks.registry import ATTACKS


@contextmanager
def guests() -> Generator[None]:
    """Afterwards the registry is as it was: one file may be loaded several times, for a model, for its data and for an attack."""
    before = dict(ATTACKS)
    try:
        yield
    finally:
        ATTACKS.clear()
        ATTACKS.update(before)
