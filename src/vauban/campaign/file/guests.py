"""Attacks that a person's code brings with it while it is loaded: they stay theirs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from vauban.attacks.registry import ATTACKS
from vauban.attacks.text import TEXT_ATTACKS


@contextmanager
def guests() -> Generator[None]:
    """Afterwards the registries are as they were: one file may be loaded several times, for a model, for its data and for an attack."""
    before, texts = dict(ATTACKS), dict(TEXT_ATTACKS)
    try:
        yield
    finally:
        ATTACKS.clear()
        ATTACKS.update(before)
        TEXT_ATTACKS.clear()
        TEXT_ATTACKS.update(texts)
