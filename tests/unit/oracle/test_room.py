"""As many rows in a pass as there is memory for: counted from what a row makes autograd keep, and no verdict feels it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import pgd
from vauban.doors import Oracle
from vauban.doors.oracle import room
from vauban.doors.oracle.room import free_bytes, rows_with_room
from vauban.noise import RowNoise
from vauban.target import Function, Torch
from vauban.threat import Access, Ball, Threat

FEATURES, WIDTH = 8, 1000
KEPT = 4 * (FEATURES + WIDTH + WIDTH)
"""The most bytes that autograd keeps of a row of the model below, float32: the input, and what the derivatives of tanh and the square need."""


class Wide(nn.Module):
    """A score that rises with the mean square of a thousand tanh's, and another that falls; notes how many rows it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(FEATURES, WIDTH))
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        z = (torch.tanh(x @ self.w) ** 2).mean(1) - 0.7
        return torch.stack([z, -z], 1)


def wide() -> Torch:
    return Torch(Wide(), outputs="logits")


def rows(n: int = 40) -> Tensor:
    return torch.rand(n, FEATURES, generator=torch.Generator().manual_seed(1))


def fits(monkeypatch: pytest.MonkeyPatch, free: int, most: int = 256, n: int = 40) -> int:
    monkeypatch.setattr(room, "free_bytes", lambda device: free)
    target, x = wide(), rows(n)
    with target.held():
        return rows_with_room(target, x, RowNoise(torch.arange(n)), most)


def test_what_a_row_keeps_is_counted_without_what_the_model_keeps_of_itself() -> None:
    target, x = wide(), rows(3)
    with target.held():
        kept = [room._kept(target, x[:n], RowNoise(torch.arange(n))) for n in (1, 2, 3)]
    assert kept[2] - kept[1] == kept[1] - kept[0]
    assert 4 * WIDTH <= kept[1] - kept[0] <= KEPT + 4 * 8
    assert kept[0] > 4 * FEATURES * WIDTH, "the weights are kept once"


def test_rows_are_the_largest_power_of_two_that_takes_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    target, x = wide(), rows(2)
    with target.held():
        each = room._kept(target, x, RowNoise(torch.arange(2))) - room._kept(target, x[:1], RowNoise(torch.arange(1)))
    for n, expected in ((1, 1), (5, 4), (63, 32), (64, 64), (300, 256)):
        assert fits(monkeypatch, room.SPARE * each * n) == expected
    assert fits(monkeypatch, 0) == 1


def test_no_more_than_usual_however_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits(monkeypatch, 1 << 50) == 256
    assert fits(monkeypatch, 1 << 50, most=7) == 7


def test_nothing_is_measured_where_any_network_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    target, x = wide(), rows()
    monkeypatch.setattr(room, "free_bytes", lambda device: room.SPARE * x[0].nbytes * room.HELD * 256)
    assert rows_with_room(target, x, RowNoise(torch.arange(len(x))), 256) == 256
    assert target.model.calls == []


def test_a_row_that_runs_out_of_memory_by_itself_is_taken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge(Wide):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(room, "free_bytes", lambda device: 0)
    assert rows_with_room(Torch(Huge(), outputs="logits"), rows(), RowNoise(torch.arange(40)), 256) == 1


def besieged(monkeypatch: pytest.MonkeyPatch, free: int, max_rows: int | None = None) -> tuple[Oracle, list[int]]:
    monkeypatch.setattr(room, "free_bytes", lambda device: free)
    target, x = wide(), rows()
    o = Oracle(target, x, target.labels(x), Threat("t", Ball(0.2)), max_rows=max_rows)
    target.model.calls.clear()
    pgd(o, steps=10)
    return o, target.model.calls


def test_no_verdict_feels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plenty, whole = besieged(monkeypatch, 1 << 50)
    scarce, parts = besieged(monkeypatch, room.SPARE * KEPT * 5)
    assert max(whole) > 8 >= max(parts), "the chunks are smaller"
    assert 0 < int(plenty.outcome.broken.sum()) < 40
    for field in ("broken", "queries", "gradients", "first"):
        assert torch.equal(getattr(plenty.outcome, field), getattr(scarce.outcome, field)), field
    torch.testing.assert_close(plenty.outcome.best, scarce.outcome.best, rtol=0, atol=1e-5)
    assert plenty.book.attempts[0].forwards == scarce.book.attempts[0].forwards, "what was measured is not counted"


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = besieged(monkeypatch, 0, max_rows=20)
    assert max(calls) == 20


def test_outputs_are_recognised_on_the_clean_rows_and_not_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda device: 0)
    model = Wide()
    Oracle(Torch(model), rows(), torch.zeros(40, dtype=torch.long), Threat("t", Ball(0.2)))
    assert model.calls[0] == 40


def test_without_gradients_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda device: 0)
    asked: list[int] = []

    def scores(x):
        asked.append(len(x))
        return 3 * x[:, :2] - 1

    o = Oracle(Function(scores, name="f"), rows(), torch.zeros(40, dtype=torch.long), Threat("t", Ball(0.2), Access.SCORE))
    o.fooled(o.x)
    assert min(asked) > 2


def test_the_machine_and_its_container_say_what_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       32000 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert free_bytes(cpu) == 1000 * 1024
    (tmp_path / "memory.max").write_text("900000\n")
    (tmp_path / "memory.current").write_text("300000\n")
    assert free_bytes(cpu) == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(cpu) == 1000 * 1024
    monkeypatch.setattr(room, "MEMINFO", tmp_path / "none")
    assert free_bytes(cpu) > 1 << 20


def test_on_a_gpu_what_pytorch_holds_and_does_not_use_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_bytes(torch.device("cuda")) == 130
