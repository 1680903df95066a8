"""An audit of a service that remembers its questions: what it refuses a second time has been answered once, and is no robustness."""

from __future__ import annotations

import torch
from benchmarks.guard import Blacklight, Waves
from torch import Tensor

import vauban
from vauban.attacks import find
from vauban.target import Target, Torch
from vauban.threat import Access, Ball, Threat

SIDE, N = 16, 8


def rows() -> tuple[Tensor, Tensor]:
    x = 0.15 + 0.7 * torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x.view(N, -1)[:, 0] = (torch.arange(N) + 1) / 100
    return x, Waves(SIDE)(x).argmax(1)


class Metered(Blacklight):
    """The same service, which charges for its answers."""

    metered = True


class Silent(Target):
    """Says nothing about the first `count` rows it is asked about."""

    access, refuses, name, classes = Access.SCORE, True, "silent", 3

    def __init__(self, count: int) -> None:
        self.count, self.inner = count, Torch(Waves(SIDE), outputs="logits")

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        known = torch.isin(x.view(len(x), -1)[:, 0], rows()[0][: self.count].view(self.count, -1)[:, 0])
        return torch.where(known[:, None], torch.nan, self.inner.scores(x))


def audit(target: Target, queries: int = 200) -> vauban.Record:
    x, y = rows()
    fixed = Ball(0.25, mask=[False, *[True] * (SIDE * SIDE - 1)])
    threat = Threat("customer", fixed, access=Access.SCORE, queries=queries)
    return vauban.audit(target, x, y, threat, attacks=[find("oars-square")])


def test_an_example_that_the_guard_would_not_answer_about_again_counts_as_it_was_answered() -> None:
    service = Metered(Torch(Waves(SIDE), outputs="logits"))
    found = audit(service)["customer"]
    assert found.robust.hits < N, "some rows fell"
    assert found.unverified == 0
    assert sum(row[t] for t, row in enumerate(found.confusion)) == found.robust.hits, "broken rows stand under another class"
    assert found.ledger is not None
    assert found.ledger.refused > 0


def test_the_clean_rows_are_asked_about_once() -> None:
    service = Metered(Torch(Waves(SIDE), outputs="logits"))
    found = audit(service, queries=1)["customer"]
    assert found.clean.hits == N
    assert service.asked <= 2 * N, "the clean questions, and one question on each row"


def test_rows_that_get_no_clean_answer_are_in_no_denominator() -> None:
    found = audit(Silent(3), queries=5)["customer"]
    assert found.robust.rows == N - 3
