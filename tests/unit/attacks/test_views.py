"""What a surrogate sees an input through: each view by hand, and that gradients flow back through it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.fft import dctn, idctn
from torch import Tensor, nn
from worlds import rows

from vauban.attacks import ATTACKS
from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.views import Lens, blurred, resized, respectred
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target import Mean, Own, Torch, Viewed
from vauban.threat import Access, Ball, Threat


def noise(n: int = 4) -> RowNoise:
    return RowNoise(torch.arange(n), 7)


def images(n: int = 4, side: int = 12) -> Tensor:
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(1))


def test_resizing_with_chance_0_changes_nothing_and_with_1_keeps_shape_and_shrinks_the_picture() -> None:
    x = images()
    assert torch.allclose(resized(x, noise(), 0.0), x, atol=1e-6)
    seen = resized(torch.ones_like(x), noise(), 1.0)
    assert seen.shape == x.shape
    share = seen.mean((1, 2, 3))
    assert (share < 1).all(), "some of the frame is black"
    assert (share > (1 / 1.1) ** 2 - 0.12).all(), "and no more than the ratio says"


def test_each_row_is_resized_by_its_own_noise() -> None:
    x = images(1).repeat(4, 1, 1, 1)
    together = resized(x, noise(), 1.0)
    assert not torch.allclose(together[0], together[1])
    alone = resized(x[2:3], noise().take(torch.tensor([2])), 1.0)
    assert torch.allclose(alone[0], together[2], atol=1e-6)


def test_a_spectrum_drawn_anew_is_the_inverse_transform_of_the_scaled_one() -> None:
    x, rho = images(), 0.5
    lot = noise()
    lot.normal(2, 12, 12)
    factor = 1 + rho * (2 * lot.uniform(2, 12, 12) - 1)
    by_scipy = idctn(dctn(x.numpy(), axes=(2, 3), norm="ortho") * factor.numpy(), axes=(2, 3), norm="ortho")
    assert torch.allclose(respectred(x, noise(), 0.0), torch.from_numpy(by_scipy), atol=1e-5)


def test_a_vector_has_a_spectrum_too() -> None:
    x = torch.rand(4, 9)
    assert torch.allclose(respectred(x, noise(), 0.0, rho=0.0), x, atol=1e-5)


def test_blur_keeps_the_sum_of_a_gradient_and_spreads_a_single_pixel_like_a_gaussian() -> None:
    g = torch.zeros(1, 1, 15, 15)
    g[0, 0, 7, 7] = 1.0
    seen = blurred(g, 7)
    assert math.isclose(float(seen.sum()), 1.0, rel_tol=1e-5)
    assert math.isclose(float(seen[0, 0, 7, 8] / seen[0, 0, 7, 7]), math.exp(-1 / (2 * (7 / 6) ** 2)), rel_tol=1e-4)
    with pytest.raises(BadPlan, match="images"):
        blurred(torch.ones(2, 9), 7)


def test_the_memory_is_in_steps_whatever_the_number_of_features() -> None:
    assert torch.allclose(unit_mean(torch.full((1, 500), -3e-7)), torch.full((1, 500), -1.0))
    assert (unit_mean(torch.zeros(1, 5)) == 0).all()


class Sum(nn.Module):
    """Class 1 by the sum of the squares of all features."""

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1).square().sum(1) / 2 - 5
        return torch.stack([-z, z], 1)


def test_the_gradient_through_scaled_copies_is_the_mean_of_theirs() -> None:
    """The gradient of |x / 2^i|^2 / 2 is x / 4^i, so that over three copies it is x (1 + 1/4 + 1/16) / 3."""
    from vauban.attacks.evasion.transfer.transfer import seen_through

    x, y = rows()
    o = Oracle(Torch(Sum()), x, y, Threat("t", Ball(0.1), access=Access.NONE), surrogate=Own(Torch(Sum(), outputs="logits")))
    with o.attacking("a", Access.NONE):
        found = seen_through(o, Lens(scales=3), o.x, lambda aim, z: z[:, 1])
    assert torch.allclose(found, x * (1 + 1 / 4 + 1 / 16) / 3, atol=1e-6)


def test_what_is_mixed_in_is_added_by_its_share() -> None:
    other = torch.full((1, 6, 6), 0.4)
    (view,) = Lens(mixed=(other,), share=0.2).views()
    assert view is not None
    x = rows()[0]
    assert torch.allclose(view(x, None), x + 0.08, atol=1e-6)


def test_mixing_without_inputs_of_the_attackers_own_is_refused() -> None:
    x, y = rows()
    o = Oracle(Torch(Sum()), x, y, Threat("t", Ball(0.1)))
    with pytest.raises(BadPlan, match="give samples"):
        ATTACKS["admix"].bind()(o)


@pytest.mark.parametrize("name", ["transfer", "mi-fgsm", "ni-fgsm", "si-fgsm", "vmi-fgsm", "vni-fgsm", "ssa", "svre", "cwa"])
def test_an_attacker_without_answers_asks_the_target_once(name: str) -> None:
    """Its gradients are of models of its own, each of several; the target sees one candidate."""
    x, y = rows()
    own = Mean([Own(Torch(Sum(), outputs="logits")), Own(Viewed(Torch(Sum(), outputs="logits"), lambda v, _: v * 0.9))])
    o = Oracle(Torch(Sum()), x, y, Threat("t", Ball(0.3), access=Access.NONE), surrogate=own)
    ATTACKS[name].bind(steps=3)(o)
    assert o.outcome.queries.tolist() == [1] * 5
    assert o.outcome.gradients.sum() == 0
    assert (o.outcome.kinds["check"] == 1).all()
