"""Gradients in reduced precision: verdicts stay those of the model in its own precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import ddn, pgd
from vauban.doors import Oracle
from vauban.errors import BadTarget
from vauban.target import Torch
from vauban.threat import INF, Ball, Threat


class Edge(nn.Module):
    """Class 1 from a level that bfloat16 cannot tell from 0.75: the two precisions disagree between 0.7500 and 0.7505."""

    def __init__(self, edge: float = 0.7505) -> None:
        super().__init__()
        self.line = nn.Linear(1, 2)
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor([[0.0], [1.0]]))
            self.line.bias.copy_(torch.tensor([edge, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)


def robust(model: nn.Module, gradients: str, eps: float, **options: object) -> Oracle:
    x = torch.full((3, 1), 0.7)
    o = Oracle(Torch(model, gradients=gradients, outputs="logits"), x, torch.zeros(3, dtype=torch.long), Threat("t", Ball(eps)), **options)  # type: ignore[arg-type]
    pgd.bind(steps=20, step=0.3)(o)
    return o


def test_a_success_that_only_reduced_precision_sees_does_not_count() -> None:
    model = Edge()
    low = torch.tensor([[0.7503]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(low)[0, 1] >= model(low)[0, 0], "the test needs a point where the precisions disagree"
    assert robust(model, "bfloat16", 0.0503).outcome.standing.all()


def test_a_success_that_only_full_precision_sees_is_found() -> None:
    model = Edge(0.7502)
    o = robust(model, "bfloat16", 0.0503)
    assert not o.outcome.standing.any()
    assert (model(o.outcome.best).argmax(1) == 1).all()


@pytest.mark.parametrize("settle", ["first", "nearest"])
def test_what_is_kept_fools_the_model_in_its_own_precision(settle: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3))
    x = torch.rand(60, 6)
    y = model(x).argmax(1)
    found = {}
    for precision in ("float32", "bfloat16"):
        o = Oracle(Torch(model, gradients=precision), x, y, Threat("t", Ball(INF, "l2")), settle=settle)  # type: ignore[arg-type]
        ddn.bind(steps=60)(o)
        best = o.outcome.best
        assert (model(best[o.outcome.nearest]).argmax(1) != y[o.outcome.nearest]).all()
        found[precision] = o.outcome.distance.median()
    if settle == "nearest":
        assert found["bfloat16"] <= 1.05 * found["float32"]


def test_asking_again_is_counted() -> None:
    o = robust(Edge(), "bfloat16", 0.0503)
    attempt = o.book.attempts[0]
    assert attempt.forwards > attempt.backwards + 3, "the doubtful answers were asked again, and that was not counted"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(BadTarget, match=r"gradients = 'float16'.*bfloat16"):
        Torch(Edge(), gradients="float16")  # type: ignore[arg-type]
