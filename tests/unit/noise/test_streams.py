"""Noise belongs to a row: whatever batch it travels in, in whatever order, whatever the others needed."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.noise import RowNoise

DRAWS = st.lists(st.tuples(st.sampled_from(["uniform", "normal", "sign", "bits", "integers"]), st.integers(1, 5)), min_size=1, max_size=4)


def draw(noise: RowNoise, kind: str, count: int, where: torch.Tensor | None = None) -> torch.Tensor:
    return noise.integers(10, count, where=where) if kind == "integers" else getattr(noise, kind)(count, where=where)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=12, unique=True), st.integers(-(2**70), 2**70), DRAWS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_row_draws_the_same_in_any_batch_and_order(ids: list[int], seed: int, draws: list[tuple[str, int]], random: object) -> None:
    order = list(range(len(ids)))
    random.shuffle(order)  # type: ignore[attr-defined]
    tensor = torch.tensor(ids)
    whole, shuffled = RowNoise(tensor, seed, "s"), RowNoise(tensor[order], seed, "s")
    alone = [RowNoise(tensor[i : i + 1], seed, "s") for i in range(len(ids))]
    for kind, count in draws:
        a = draw(whole, kind, count)
        assert torch.equal(draw(shuffled, kind, count), a[order])
        for i, one in enumerate(alone):
            assert torch.equal(draw(one, kind, count)[0], a[i])


@given(DRAWS, st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_rows_next_draw_depends_on_its_own_draws_alone(draws: list[tuple[str, int]], marks: list[list[bool]]) -> None:
    ids = torch.arange(4)
    together, alone = RowNoise(ids, 0), [RowNoise(ids[i : i + 1], 0) for i in range(4)]
    for (kind, count), mark in zip(draws, marks, strict=False):
        a = draw(together, kind, count, torch.tensor(mark))
        for i, one in enumerate(alone):
            if mark[i]:
                assert torch.equal(draw(one, kind, count)[0], a[i])
    last = together.uniform(3)
    for i, one in enumerate(alone):
        assert torch.equal(one.uniform(3)[0], last[i])


def test_take_continues_where_the_rows_stand() -> None:
    noise = RowNoise(torch.arange(6), 0)
    noise.uniform(2, where=torch.tensor([1, 0, 1, 0, 1, 0]).bool())
    some = noise.take(torch.tensor([4, 1]))
    assert some.ids.tolist() == [4, 1]
    assert len(some) == 2
    assert torch.equal(some.uniform(3), noise.uniform(3)[[4, 1]])
    masked = noise.take(torch.tensor([False, True, False, False, True, False]))
    assert torch.equal(masked.uniform(3), noise.uniform(3)[[1, 4]])


def test_taken_rows_and_forks_leave_the_parent_alone() -> None:
    noise, untouched = RowNoise(torch.arange(3), 0), RowNoise(torch.arange(3), 0)
    noise.take(torch.tensor([0, 1, 2])).uniform(5)
    noise.fork("x").uniform(5)
    noise.at(torch.tensor([1, 2, 3])).uniform(5)
    assert torch.equal(noise.uniform(5), untouched.uniform(5))


def test_a_fork_begins_anew_and_knows_its_question() -> None:
    noise = RowNoise(torch.arange(3), 0)
    fresh = noise.fork("x").uniform(4)
    noise.uniform(4)
    assert torch.equal(noise.fork("x").uniform(4), fresh)
    questions = [noise.at(torch.full((3,), k)).fork("x").uniform(4) for k in range(3)]
    assert len(torch.stack([fresh, *questions]).unique()) == 4 * 12, "each question forks into streams of its own"
    assert torch.equal(noise.at(torch.tensor([2, 2, 2])).fork("x").uniform(4), questions[2])


def test_questions_are_keyed_by_number_and_not_by_when_they_are_asked() -> None:
    noise = RowNoise(torch.arange(4), 0)
    later = noise.at(torch.tensor([5, 0, 5, 1])).uniform(2)
    noise.uniform(9)
    assert torch.equal(noise.at(torch.full((4,), 5)).uniform(2)[[0, 2]], later[[0, 2]])
    assert torch.equal(noise.take(torch.tensor([3])).at(torch.tensor([1])).uniform(2)[0], later[3])


def test_words_of_a_stream_are_told_apart() -> None:
    ids = torch.arange(2)
    streams = [(), ("a",), ("a", 0), ("a", 1), ("a0",), ("a", "0"), (0, "a"), ("b",)]
    draws = torch.stack([RowNoise(ids, 0, *s).uniform(4) for s in streams])
    assert len(draws.unique()) == draws.numel()


def test_empty_draws_and_no_rows_work() -> None:
    assert RowNoise(torch.arange(0), 0).uniform(3).shape == (0, 3)
    assert RowNoise(torch.arange(0), 0).normal(3, 2).shape == (0, 3, 2)
    assert RowNoise(torch.arange(2), 0).uniform(0).shape == (2, 0)
    assert RowNoise(torch.arange(2), 0).uniform().shape == (2,)
