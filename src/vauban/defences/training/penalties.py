"""What is added to a loss, or done to weights, so that answers change little with the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vauban.defences.training.lesson import Lesson


def input_gradient(lesson: Lesson) -> Tensor:
    """Mean squared L2 norm of the loss's gradient in the clean input (Ross and Doshi-Velez 2018, arXiv:1711.09404, equation 3)."""
    x = lesson.x.detach().requires_grad_()
    loss = F.cross_entropy(lesson.scores(x).float(), lesson.y, reduction="sum")
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean()


def jacobian(lesson: Lesson) -> Tensor:
    """Mean squared Frobenius norm of the scores' Jacobian in the clean input, by one random projection a row (Hoffman et al. 2019,
    arXiv:1908.02729, algorithm 1)."""
    x = lesson.x.detach().requires_grad_()
    z = lesson.scores(x).float()
    v = lesson.noise("jacobian").normal(z.shape[1]).to(z)
    v = v / v.norm(dim=1, keepdim=True)
    (slope,) = torch.autograd.grad((z * v).sum(), x, create_graph=True)
    return z.shape[1] * slope.flatten(1).square().sum(1).mean()


def bounded(model: nn.Module, most: float) -> None:
    """Scale every weight matrix down to a spectral norm of at most `most`, kernels of convolutions as matrices of their output channels
    (Miyato et al. 2018, arXiv:1802.05957, section 2.1; Yoshida and Miyato 2017, arXiv:1705.10941)."""
    with torch.no_grad():
        for w in model.parameters():
            if w.requires_grad and w.ndim > 1:
                norm = torch.linalg.matrix_norm(w.flatten(1).float(), 2)
                w.mul_((most / norm.clamp_min(1e-12)).clamp_max(1.0).to(w))
