"""What the tests of defences share."""

from __future__ import annotations

import pytest
from small_training import EPS

from vauban.attacks import Attack, pgd
from vauban.threat import Ball, Threat


@pytest.fixture
def threat() -> Threat:
    return Threat("insider", Ball(EPS))


@pytest.fixture
def inner() -> Attack:
    return pgd(steps=3, step=0.6)
