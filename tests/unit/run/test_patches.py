"""Audits under patches and pixels: on a linear model the robust accuracy is known, whoever looks for doubts and whoever judges again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.campaign.plan import Plan
from vauban.campaign.rejudge import rejudge
from vauban.data import Rows
from vauban.report.sentences import finding_sentence
from vauban.threat import Access, Ball, Patch, Threat

SHAPE = (2, 6, 5)


def linear(n: int = 60) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model of two classes, and images with what it answers, surer and surer of it."""
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 2))
    w = torch.randn(60, generator=g)
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([w, -w]) / 2)
        model[1].bias.copy_(torch.tensor([-0.25, 0.25]) * w.sum())
        noise = 0.1 * torch.randn(n, *SHAPE, generator=g)
        side = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0) * torch.linspace(0.02, 0.2, n)
        x = (0.5 + noise + side[:, None, None, None] * w.sign().view(SHAPE)).clamp(0, 1)
        return model, x, model(x).argmax(1)


def gains(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """By how much each pixel can lower the lead of the answer, (n, height, width), and that lead (n,), float64."""
    down = ((model[1].weight[1] - model[1].weight[0]).double().view(SHAPE)) * torch.where(y == 0, 1.0, -1.0)[:, None, None, None]
    room = torch.where(down > 0, 1 - x.double(), x.double())
    z = model.double()(x.double())
    model.float()
    lead = z.gather(1, y[:, None])[:, 0] - z.gather(1, 1 - y[:, None])[:, 0]
    return (down.abs() * room).sum(1).detach(), lead.detach()


def falls(allowed: Ball | Patch, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which rows the best patch, or the best pixels, turn."""
    gain, lead = gains(model, x, y)
    if isinstance(allowed, Ball):
        return gain.flatten(1).topk(int(allowed.eps)).values.sum(1) > lead
    tall, wide = allowed.size
    return gain.unfold(1, tall, 1).unfold(2, wide, 1).sum((-1, -2)).flatten(1).amax(1) > lead


@pytest.mark.parametrize("allowed", [Patch(2), Patch((1, 3)), Ball(2, "l0", pixels=True)], ids=["square", "rectangle", "pixels"])
@pytest.mark.parametrize("suite", ["vauban", "quick"])
def test_the_robust_accuracy_of_a_linear_model_is_the_one_of_the_best_window(allowed: Ball | Patch, suite: str) -> None:
    model, x, y = linear()
    expected = falls(allowed, model, x, y)
    assert 5 < int(expected.sum()) < len(x) - 5
    finding = vauban.audit(model, x, y, Threat("sticker", allowed), suite=suite).findings[0]
    assert (finding.robust.hits, finding.robust.rows) == (len(x) - int(expected.sum()), len(x))
    assert [d.name for d in finding.doubts] == ["too-few-rows"]
    assert {a.distance for a in finding.attacks} <= {None, *range(1, int(allowed.eps) + 1)}


def test_a_search_by_scores_comes_near_to_it() -> None:
    model, x, y = linear()
    for allowed in (Patch(2), Ball(2, "l0", pixels=True)):
        finding = vauban.audit(model, x, y, Threat("customer", allowed, access=Access.SCORE, queries=3000)).findings[0]
        missed = finding.robust.hits - (len(x) - int(falls(allowed, model, x, y).sum()))
        assert 0 <= missed <= 5


def test_examples_of_other_tools_are_judged_as_patches(plan: Callable[..., Plan], rows: Callable[..., Rows], tmp_path: Path) -> None:
    """Class 1 is where the first pixel is bright: dark there, and nothing else but what lies within two pixels of it."""
    made = plan(rows([0.6, 0.6, 0.6, 0.9], [1, 1, 1, 1], shape=(1, 5, 5)))
    made = replace(made, sieges=(replace(made.sieges[0], threat=Threat("insider", Patch(2))),))
    x = made.data.x.numpy().copy()
    x[:3, 0, 0, 0] = 0
    x[1, 0, 1, 1] = 1
    x[2, 0, 2, 0] = 0.501
    np.savez(tmp_path / "other.npz", x_adv=x)
    _, (judged,) = rejudge(made, tmp_path / "other.npz")
    assert (judged.given, judged.inside, judged.fooled) == (4, 3, 2)
    assert {f.row: f.why for f in judged.failures} == {
        2: "its distance 3 is more than eps = 2",
        3: "the target is not fooled: it answers 1",
    }


def test_the_sentence_says_what_the_attacker_may_do() -> None:
    model, x, y = linear()
    said = {}
    for allowed in (Patch((2, 3)), Ball(1, "l0", pixels=True), Ball(4, "l0", pixels=True), Ball(4, "l0")):
        finding = vauban.audit(model, x, y, Threat("t", allowed), attacks=["uniform-noise"]).findings[0]
        said[allowed.text()] = finding_sentence(finding, (), "image")
    start = "An attacker with full knowledge of the model who may "
    assert said["patch of 2 x 3 pixels anywhere"].startswith(
        start + "put a patch of 2 x 3 pixels anywhere on each input and show there what it likes gets"
    )
    assert said["L0 within 1 pixel"].startswith(start + "change one pixel, as much as it likes gets")
    assert said["L0 within 4 pixels"].startswith(start + "change at most 4 of the pixels, as much as it likes gets")
    assert said["L0 within 4"].startswith(start + "change at most 4 of the pixel values, as much as it likes gets")
