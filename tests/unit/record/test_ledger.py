"""The query ledger of a finding: what questions bought, by hand-made rows whose answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from vauban.attacks import ATTACKS
from vauban.campaign.plan import Siege
from vauban.campaign.run.accounts import ledger, rung
from vauban.doors import KINDS
from vauban.threat import Access, Ball, Threat

FIRST = [1, 4, 30, -1]
QUERIES = [9, 4, 30, 100]


def tally() -> SimpleNamespace:
    """Four attacked rows, of which three fell, and one that erred from the start."""
    kinds = np.zeros((5, len(KINDS)), dtype=np.int64)
    kinds[:4, KINDS.index("step")] = QUERIES
    return SimpleNamespace(
        attacked=np.array([True] * 4 + [False]),
        broken=np.array([True, True, True, False, True]),
        first=np.array([*FIRST, 0]),
        queries=np.array([*QUERIES, 0]),
        kinds=kinds,
        refused=np.array([0, 0, 2, 1, 0]),
    )


def siege(access: Access = Access.SCORE, **limits: int) -> Siege:
    return Siege(Threat("t", Ball(0.1), access=access), (ATTACKS["square"].bind(),), **limits)  # type: ignore[arg-type]


def test_success_against_questions_counts_the_rows_that_were_attacked() -> None:
    book = ledger(siege(), tally())  # type: ignore[arg-type]
    assert book is not None
    assert (book.rows, book.asked, book.refused, book.fallen) == (4, 143, 3, 3)
    shares = {q: r.hits for q, r in zip(book.queries, book.success, strict=True)}
    assert shares == {1: 1, 2: 1, 5: 2, 10: 2, 20: 2, 50: 3, 100: 3}
    assert book.kinds["step"] == 143


def test_a_success_pays_for_the_failures_and_not_for_what_was_asked_after_it() -> None:
    book = ledger(siege(), tally())  # type: ignore[arg-type]
    assert book is not None
    assert book.spent == 1 + 4 + 30 + 100
    assert book.price == 135 / 3
    assert book.identities(book.price, book.session) == 9
    assert book.identities(book.price, book.day) == 5
    assert book.median == 4


def test_where_nothing_fell_a_success_has_no_price() -> None:
    done = tally()
    done.broken[:] = False
    book = ledger(siege(), done)  # type: ignore[arg-type]
    assert book is not None
    assert math.isinf(book.price)
    assert math.isinf(book.identities(book.price, 5))
    assert book.median is None


def test_an_attacker_that_holds_the_model_keeps_no_ledger() -> None:
    assert ledger(siege(Access.GRADIENT), tally()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "stands"), [("pgd", "transfer"), ("square", "scores"), ("gaussian-noise", "baselines"), ("spatial", "baselines")]
)
def test_every_attack_stands_on_a_rung(name: str, stands: str) -> None:
    assert rung(ATTACKS[name].facts, Threat("t", Ball(0.1), access=Access.SCORE)) == stands
    assert rung(ATTACKS[name].facts, Threat("t", Ball(0.1))) == ""
