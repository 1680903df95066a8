"""Doubts about the inputs: scaled otherwise than the model expects, in other units than the radius, or rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vauban
from vauban.attacks import pgd
from vauban.threat import Ball, Threat

Names = Callable[..., set[str]]
Found = Callable[..., Any]


class Scaled(nn.Module):
    """The boundary between the blobs, for inputs that were scaled: class 1 above `middle`."""

    def __init__(self, middle: float, slope: float = 8.0) -> None:
        super().__init__()
        self.middle, self.slope = middle, slope

    def forward(self, x: Tensor) -> Tensor:
        z = self.slope * (x.flatten(1).mean(1) - self.middle)
        return torch.stack([-z, z], 1)


def said(found: Any) -> str:
    return next((d.text for d in found.doubts if d.name == "wrong-normalisation"), "")


def test_a_model_for_other_numbers_is_doubted_and_told_which(found: Found) -> None:
    assert "times 255" in said(found(Scaled(127.5)))
    assert "[-1, 1]" in said(found(Scaled(0.0)))
    assert said(found(Scaled(0.5))) == ""


def test_inputs_that_are_normalised_twice_are_doubted(found: Found) -> None:
    once = vauban.Torch(Scaled(1.5), outputs="logits", mean=0.2, std=0.2)
    twice = vauban.Torch(nn.Sequential(_Normalise(0.2, 0.2), Scaled(1.5)), outputs="logits", mean=0.2, std=0.2)
    assert said(found(once)) == ""
    assert said(found(twice)) != ""


class _Normalise(nn.Module):
    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def test_a_target_that_refuses_other_numbers_is_asked_for_none(found: Found) -> None:
    def guarded(x: Tensor) -> Tensor:
        if x.min() < 0 or x.max() > 1:
            raise ValueError("pixels lie in [0, 1]")
        return Scaled(0.9)(x)

    target = vauban.Function(guarded, access="gradient", as_numpy=False, outputs="logits")
    assert "chance" in said(found(target))


def test_classes_in_another_order_are_near_chance(found: Found, rows: tuple[Tensor, Tensor]) -> None:
    x, y = rows
    assert "chance" in said(found(Scaled(0.5), data=(x, 1 - y)))


def test_a_rare_class_is_no_reason_to_doubt(found: Found, rows: tuple[Tensor, Tensor]) -> None:
    """97 in 100 rows of one class: a model as accurate as always saying so is not near chance if it finds half of the others."""
    x, y = rows
    keep = torch.cat([(y == 0).nonzero()[:, 0], (y == 1).nonzero()[:4, 0]])
    x, y = x[keep].clone(), y[keep]
    x[-2:] -= 0.3
    assert said(found(Scaled(0.5), data=(x, y))) == ""


@pytest.mark.parametrize(
    ("lo", "hi", "eps", "doubted"),
    [(0, 1, "8/255", False), (-2.1, 2.6, "8/255", True), (-1, 1, "16/255", False), (0, 255, 8, False), (-2.1, 2.6, 0.1478, False)],
)
def test_a_radius_in_pixels_for_normalised_pictures_is_doubted(found: Found, lo: float, hi: float, eps: float | str, doubted: bool) -> None:
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.2 + torch.tensor([0.2, 0.6]).repeat(20).view(-1, 1, 1, 1)
    data = (x * (hi - lo) + lo, torch.arange(40) % 2)
    model = Scaled((lo + hi) / 2, 8 / (hi - lo))
    text = said(found(model, data=data, threats=Threat("t", Ball(eps, lo=lo, hi=hi))))
    assert ("levels of a pixel" in text) is doubted


def test_rounded_inputs_are_a_staircase(names: Names, wrapped: Any) -> None:
    def rounded(x: Tensor) -> Tensor:
        return (x * 8).round() / 8

    assert "quantised-input" in names(wrapped(before=rounded), 0.2)
    assert "quantised-input" not in names(wrapped(before=lambda x: x + (rounded(x) - x).detach()), 0.2)
    assert "quantised-input" not in names(wrapped(), 0.2)
    assert "quantised-input" not in names(wrapped(before=lambda x: x.detach()), 0.2)


def test_rounding_that_is_declared_is_not_doubted(names: Names, honest: nn.Module) -> None:
    seen = vauban.Preprocessed(lambda x: (x * 16).round() / 16, vauban.Torch(honest, outputs="logits"))
    assert names(seen, 0.2, attacks=[pgd(loss="margin")]) == set()
