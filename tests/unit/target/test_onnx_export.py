"""A model written as ONNX answers alike, or is not written: with its normalisation, its kind of outputs, and any number of inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vauban.errors import BadTarget
from vauban.target import Onnx, Torch
from vauban.target.onnx_export import export_onnx


def rows(n: int = 40, *shape: int) -> Tensor:
    return torch.rand(n, *(shape or (3, 8, 8)), generator=torch.Generator().manual_seed(0))


def seeded(build) -> nn.Module:  # type: ignore[no-untyped-def]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return build()


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(128, 5)
    )  # fmt: skip


def test_any_number_of_inputs_is_answered_alike_with_the_normalisation_inside(tmp_path: Path) -> None:
    model = seeded(convolutional)
    model.train()
    target = Torch(model, outputs="logits", mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25])
    path = tmp_path / "deep" / "model.onnx"
    export_onnx(target, rows(), path)
    written = Onnx(path, outputs="logits")
    for n in (1, 3, 40):
        assert torch.allclose(written.scores(rows(n)), target.scores(rows(n)), atol=1e-4)
    assert model.training
    assert not torch.allclose(written.scores(rows()), Torch(model, outputs="logits").scores(rows()), atol=1e-2)
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(("outputs", "build"), [
    ("probabilities", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Softmax(1))),
    ("log-probabilities", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.LogSoftmax(1))),
    ("binary-logit", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 1))),
    ("sigmoid", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Sigmoid())),
])  # fmt: skip
def test_every_kind_of_output_stays_what_it_is(outputs: str, build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target = Torch(seeded(build), outputs=outputs)
    export_onnx(target, rows(), tmp_path / "m.onnx")
    assert torch.equal(Onnx(tmp_path / "m.onnx", outputs=outputs).labels(rows()), target.labels(rows()))


class Branching(nn.Module):
    """Which way it goes depends on the values: tracing follows one way only."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) if float(x.sum()) < 10 else -self.line(x)


class Random(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.line(x)
        return z + torch.rand_like(z)


class NoOperator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(self.line(x)) * 10


@pytest.mark.parametrize(("build", "words"), [
    (Branching, r"answers differently on \d+ of 40 rows.*nothing was written"), (Random, "answers differently"),
    (NoOperator, r"NoOperator: cannot be written as ONNX: .*bessel"),
])  # fmt: skip
def test_what_answers_differently_is_not_written_and_what_was_there_stays(build: type[nn.Module], words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(BadTarget, match=words):
        export_onnx(Torch(seeded(build), outputs="logits"), rows(40, 4) * 2, path)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadTarget, match="cannot be written"):
        export_onnx(Torch(seeded(lambda: nn.Linear(4, 3)), outputs="logits"), rows(20, 4), tmp_path / "file" / "m.onnx")
