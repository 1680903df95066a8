"""Row noise is good noise: its distributions, and no correlation between rows, draws, positions, streams or questions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from vauban.noise import RowNoise

IDS = torch.arange(1000)
P = 1e-4
"""A seed is fixed, so a test either always passes or never; this small a chance would need ten thousand tests to be met by luck."""


def noise(*stream: int | str, seed: int = 0) -> RowNoise:
    return RowNoise(IDS, seed, *stream)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_uniform_is_uniform(seed: int) -> None:
    u = noise(seed=seed).uniform(100)
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > P
    assert stats.kstest(u[:, 0].numpy(), "uniform").pvalue > P, "across rows"
    assert stats.kstest(u[0].numpy(), "uniform").pvalue > P, "along one row"


@pytest.mark.parametrize("shape", [(100,), (3, 7), (1,)])
def test_normal_is_normal(shape: tuple[int, ...]) -> None:
    z = noise().normal(*shape)
    assert z.shape == (1000, *shape)
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > P
    assert torch.isfinite(z).all()


def test_both_halves_of_a_normal_pair_are_independent() -> None:
    z = noise().normal(200)
    assert abs(np.corrcoef(z[:, :100].flatten(), z[:, 100:].flatten())[0, 1]) < 0.015
    assert abs(np.corrcoef(z[:, :100].square().flatten(), z[:, 100:].square().flatten())[0, 1]) < 0.015


def test_signs_and_integers_are_fair() -> None:
    s = noise().sign(100)
    assert set(s.unique().tolist()) == {-1.0, 1.0}
    assert stats.binomtest(int((s > 0).sum()), s.numel()).pvalue > P
    k = noise().integers(7, 100)
    assert (int(k.min()), int(k.max())) == (0, 6)
    assert stats.chisquare(torch.bincount(k.flatten()).numpy()).pvalue > P


def test_all_64_bits_are_random() -> None:
    words = noise().bits(100)
    for bit in range(64):
        ones = int(((words >> bit) & 1).sum())
        assert stats.binomtest(ones, words.numel()).pvalue > P, f"bit {bit}"


def test_neighbours_are_uncorrelated() -> None:
    """Between positions, rows, draws, seeds, streams, forks, and questions: what differs by one word in the key."""
    n = noise()
    first, second = n.uniform(200), n.uniform(200)
    at = [noise().at(torch.full_like(IDS, k)).uniform(200) for k in (0, 1)]
    pairs = {
        "positions": (first[:, :-1], first[:, 1:]),
        "rows": (first[:-1], first[1:]),
        "draws": (first, second),
        "seeds": (first, noise(seed=1).uniform(200)),
        "streams": (noise("pgd", 0).uniform(200), noise("pgd", 1).uniform(200)),
        "forks": (noise().fork(0).uniform(200), noise().fork(1).uniform(200)),
        "parent and fork": (first, noise().fork(0).uniform(200)),
        "questions": (at[0], at[1]),
        "row and question": (at[0][1:], at[1][:-1]),
        "row and draw": (first[1:], second[:-1]),
    }
    for what, (a, b) in pairs.items():
        assert abs(np.corrcoef(a.flatten(), b.flatten())[0, 1]) < 0.012, what
        assert not torch.isin(a.flatten()[:500].double(), b.flatten()[:500].double()).all(), what


def test_no_word_repeats() -> None:
    words = torch.cat([noise().bits(300).flatten(), noise("a").bits(300).flatten(), noise().fork("a").bits(300).flatten()])
    assert len(words.unique()) == len(words)
