"""The doubt about scores: labels that do better than scores, where these were made to mislead and where they were not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vauban.attacks import rays, square
from vauban.threat import Access, Ball, Threat

Names = Callable[..., set[str]]
BLACK = Threat("t", Ball(0.25), access=Access.SCORE)
ATTACKS = [square(queries=150).spending(150), rays().spending(400)]


def turned_round(z: Tensor) -> Tensor:
    """The same answer, whose lead grows as the boundary comes nearer (after Chen et al. 2022, arXiv:2205.12134)."""
    lead = (z[:, 1] - z[:, 0]) / 2
    shown = torch.sign(lead) * (4 - lead.abs()).clamp_min(0.01)
    return torch.stack([-shown, shown], 1)


def test_labels_that_win_what_scores_could_not_are_doubted(names: Names, wrapped: Any) -> None:
    assert "labels-beat-scores" in names(wrapped(after=turned_round), attacks=ATTACKS, threats=BLACK)


def test_honest_scores_are_not_doubted(names: Names, wrapped: Any) -> None:
    assert "labels-beat-scores" not in names(wrapped(), attacks=ATTACKS, threats=BLACK)


def test_without_a_search_by_scores_there_is_nothing_to_compare(names: Names, wrapped: Any) -> None:
    assert "labels-beat-scores" not in names(wrapped(after=turned_round), attacks=ATTACKS[1:], threats=BLACK)
