"""Chunks: passes over many rows are cut, halved when memory runs out, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from spine import FAR, Counting, attacking, siege
from worlds import Halfspace, besiege, small, world

from vauban.attacks import pgd
from vauban.doors import Aim
from vauban.doors.oracle.passes import Chunks, gradient_of, out_of_memory
from vauban.errors import BadTarget


class Small(Halfspace):
    """A model on a device with room for `fits` rows."""

    def __init__(self, fits: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.fits, self.error, self.sizes = fits, error, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.fits:
            raise self.error("CUDA out of memory" if self.error is torch.OutOfMemoryError else "DefaultCPUAllocator: can't allocate memory")
        return super().forward(x)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
@pytest.mark.parametrize("fits", [1, 2, 3, 7])
def test_out_of_memory_halves_the_chunk_and_changes_no_answer(fits: int, error: type[RuntimeError]) -> None:
    small = Small(100, error)
    o, whole = siege(small, FAR, n=9), siege(Halfspace(), FAR, n=9)
    small.fits = fits
    small.sizes.clear()
    for each in (o, whole):
        pgd(each, steps=4, restarts=2)
    for field in ("broken", "queries", "gradients", "first"):
        assert torch.equal(getattr(o.outcome, field), getattr(whole.outcome, field)), field
    assert torch.allclose(o.outcome.best, whole.outcome.best, atol=1e-6)
    failed = [n for n in small.sizes if n > fits]
    assert len(failed) <= 3, "what did not fit once is not tried again"
    assert o.book.attempts[0].forwards == int(o.outcome.queries.sum()), "a pass that failed is not counted"


def test_per_row_constants_survive_the_cut() -> None:
    small = Small(100)
    o = siege(small, n=7)
    small.fits = 2
    s = o.rows(c=torch.arange(7.0))
    value, gradient = o.ascend(o.x.expand(2, *o.x.shape), lambda aim, z: aim.of(s.c) * z[:, 1])
    assert torch.allclose(value, (torch.arange(7.0) * Halfspace()(o.x)[:, 1].detach()).expand(2, 7))
    assert torch.allclose(gradient.flatten(2)[..., 0], (torch.arange(7.0) * small.w[0].detach()).expand(2, 7))


def test_one_row_that_does_not_fit_is_an_error_with_a_name() -> None:
    small = Small(100)
    o = siege(small)
    small.fits = 0
    with pytest.raises(BadTarget, match="out of memory with a single row"):
        o.fooled(o.x)


def test_other_errors_of_the_model_pass_through() -> None:
    class Bad(Halfspace):
        broken = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.broken:
                raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
            return super().forward(x)

    model = Bad()
    o = siege(model)
    model.broken = True
    with pytest.raises(RuntimeError, match="mat1"):
        o.ascend(o.x)
    assert not out_of_memory(RuntimeError("mat1"))


@pytest.mark.parametrize("max_rows", [1, 2, 4, 5, 100])
def test_every_question_is_the_same_in_chunks(max_rows: int) -> None:
    def ask(rows: int) -> list[torch.Tensor]:
        o = siege(Counting(), max_rows=rows)
        v = torch.stack([o.x, o.x + 0.01, o.x + 0.3])
        with attacking(o):
            return [
                o.score(v),
                o.logits(v),
                *o.jacobian(v, lambda aim, z: torch.stack([aim.margin(z), z[:, 0]], 1), columns=2),
                *o.ascend(v, Aim.margin),
                o.fooled(v),
            ]

    for a, b in zip(ask(max_rows), ask(1000), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-6)


def test_parts_are_joined_and_what_is_missing_stays_missing() -> None:
    first, second = Chunks(2).run(5, lambda s: (torch.arange(s.start, s.stop), None))
    assert first is not None
    assert first.tolist() == [0, 1, 2, 3, 4]
    assert second is None


def test_gradients_of_one_and_of_many_values_in_closed_form() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert torch.allclose(gradient_of(x.prod(1), x), torch.tensor([[2.0, 1.0], [4.0, 3.0]]))
    many = torch.stack([x.square().sum(1), x[:, 0], torch.ones(2)], 1)
    exact = torch.tensor([[[2.0, 4], [1, 0], [0, 0]], [[6, 8], [1, 0], [0, 0]]])
    assert torch.allclose(gradient_of(many, x), exact)
    assert torch.equal(gradient_of(torch.ones(2), x), torch.zeros(2, 2))
    assert torch.equal(gradient_of(torch.ones(2, 3), x), torch.zeros(2, 3, 2))


@pytest.mark.parametrize("name", ["pgd", "cw-l2", "uniform-noise", "deepfool"])
def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A large view is worked block by block; verdicts, counts and noise are those of one block."""
    w, attack = world("l2", n=9), small(name)
    t = w.threat(attack, 1.1, queries=30)
    whole = besiege(w, attack, t)
    monkeypatch.setattr("vauban.doors.oracle.stage.BLOCK", 4 * 36)
    parts = besiege(w, attack, t)
    assert [len(a.rows) for a in parts.book.attempts] == [9]
    for field in ("broken", "queries", "gradients", "first"):
        assert torch.equal(getattr(parts.outcome, field), getattr(whole.outcome, field)), field
    assert torch.allclose(parts.outcome.best, whole.outcome.best, atol=1e-6)
    assert parts.book.attempts[0].forwards == whole.book.attempts[0].forwards
