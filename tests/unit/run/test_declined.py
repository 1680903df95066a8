"""An audit of a target that may reject says what that cost on clean inputs, and how many rows stood by it alone."""

from __future__ import annotations

import numpy as np
import torch
from detected import digits

import vauban
from vauban.campaign.record import Record
from vauban.defences import max_softmax
from vauban.report.terminal import plain_text
from vauban.target import Function
from vauban.threat import Access, Ball, Goal, Threat


def audited(goal: Goal | None = None) -> Record:
    target, clean, (x, y) = digits()
    guarded = max_softmax(rejected=0.2).around(target, clean)
    return vauban.audit(guarded, x, y, Threat("insider", Ball(0.08), goal=goal or Goal()), suite="quick")


def test_clean_rejections_and_rows_saved_by_one_are_counted() -> None:
    target, clean, (x, y) = digits()
    guarded = max_softmax(rejected=0.2).around(target, clean)
    found = audited()["insider"]
    assert found.declined is not None
    assert found.declined.clean.hits == int((guarded.labels(x) == guarded.reject).sum())
    assert found.declined.clean.rows == len(x)
    assert found.declined.saved.rows == found.robust.hits
    assert 0 < found.declined.saved.hits <= found.robust.hits
    bare = vauban.audit(target, x, y, Threat("insider", Ball(0.08)), suite="quick")["insider"]
    saved = found.robust.hits - sum(found.standing()[r] and bare.standing()[r] for r in found.standing())
    assert found.declined.saved.hits >= saved, "what stands only because of the detector was saved by it"
    assert bare.declined is None


def test_a_rejection_that_wins_is_none_that_saves() -> None:
    assert audited(Goal(reject_wins=True))["insider"].declined is None


def test_the_report_says_it_and_the_record_keeps_it() -> None:
    record = audited()
    text = plain_text(record)
    assert "Declined to answer" in text
    assert "saved by a rejection" in " ".join(text.split())


def test_counted_by_hand_on_a_target_that_rejects_what_is_bright() -> None:
    """Class 1 is answered from 0.6 on, if it were not rejected there."""

    def answer(x: np.ndarray) -> np.ndarray:
        lead = x[:, 0] - 0.6
        return np.stack([-lead, lead, np.where(lead > 0, 9.0, -9.0)], 1).astype(np.float32)

    target = Function(answer, outputs="logits", classes=3, reject=2)
    x = torch.tensor([[0.1], [0.25], [0.45], [0.5], [0.9]]).repeat(1, 2)
    y = torch.tensor([0, 0, 0, 0, 1])
    record = vauban.audit(target, x, y, Threat("t", Ball(0.3), access=Access.SCORE, queries=50), attacks=["uniform-noise", "square"])
    found = record["t"]
    assert found.robust.hits == 4
    assert found.declined is not None
    assert (found.declined.clean.hits, found.declined.clean.rows) == (1, 5)
    assert (found.declined.saved.hits, found.declined.saved.rows) == (2, 4), "0.45 and 0.5 reach 0.6; the darker ones do not"
    assert found.declined.sentence() == (
        "Declined to answer 20.0% [3.6, 62.4] of the clean inputs; 2 of the 4 rows that stood were saved by a rejection."
    )
