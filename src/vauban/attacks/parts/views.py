"""Differentiable changes of an input that a surrogate sees it through, so that gradients do not cling to one model: the input transformations of
transfer attacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vauban.attacks.parts.subspace import cosines
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target import View


@dataclass(frozen=True, eq=False)
class Lens:
    """Which views of a point its gradient is the mean over.

    Attributes:
        scales: copies x, x/2, x/4, ... of each input (SI: Lin et al. 2020, arXiv:1908.06281, section 3.2).
        mixed: inputs of the attacker's own that are mixed into it one at a time (Admix: Wang et al. 2021, arXiv:2102.00436, equation 9).
        share: how much of such an input is added.
        spectra: draws of its spectrum (SSA: Long et al. 2022, arXiv:2207.05382, algorithm 1); 0 for none.
        size: the size of the noise in these draws, in units of the inputs.
        diversity: the chance that an image is resized and padded (DI: Xie et al. 2019, arXiv:1803.06978).
    """

    scales: int = 1
    mixed: tuple[Tensor, ...] = ()
    share: float = 0.2
    spectra: int = 0
    size: float = 0.0
    diversity: float = 0.0

    def views(self) -> Iterator[View | None]:
        """Each view; None where the input is seen as it is."""
        for draw in range(max(self.spectra, 1)):
            for other in self.mixed or (None,):
                for power in range(self.scales):
                    plain = power == 0 and other is None and not self.spectra and not self.diversity
                    yield None if plain else self._view(draw, other, power)

    def _view(self, draw: int, other: Tensor | None, power: int) -> View:
        def seen(x: Tensor, noise: RowNoise | None) -> Tensor:
            lot = RowNoise(torch.arange(len(x), device=x.device)) if noise is None else noise.fork(draw)
            if self.spectra:
                x = respectred(x, lot, self.size)
            if other is not None:
                x = x + self.share * other
            x = x / 2**power
            return resized(x, lot.fork("diversity"), self.diversity) if self.diversity else x

        return seen


def resized(x: Tensor, noise: RowNoise, chance: float, ratio: float = 1.1) -> Tensor:
    """With this chance images (n, channels, height, width) enlarged by up to `ratio`, put somewhere on a black frame of that ratio, and the frame
    brought back to their size; bilinear."""
    lot = noise.uniform(4).to(x)
    scale = (1 + (ratio - 1) * lot[:, 0]) / ratio
    shift = (2 * lot[:, 1:3] - 1) * (1 - scale)[:, None]
    as_is = lot[:, 3] >= chance
    scale, shift = torch.where(as_is, 1.0, scale), torch.where(as_is[:, None], 0.0, shift)
    zero = torch.zeros_like(scale)
    across = torch.stack([1 / scale, zero, -shift[:, 0] / scale], 1)
    down = torch.stack([zero, 1 / scale, -shift[:, 1] / scale], 1)
    grid = functional.affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def respectred(x: Tensor, noise: RowNoise, size: float, rho: float = 0.5) -> Tensor:
    """Inputs with Gaussian noise of this size, each coefficient of their cosine transform times a number in [1 - rho, 1 + rho]."""
    noisy = x + size * noise.normal(*x.shape[1:]).to(x)
    factor = 1 + rho * (2 * noise.uniform(*x.shape[1:]).to(x) - 1)
    if x.ndim != 4:
        base = cosines(x[0].numel(), x[0].numel()).T.to(x)
        return ((noisy.flatten(1) @ base.T * factor.flatten(1)) @ base).view_as(x)
    down, across = (cosines(side, side).T.to(x) for side in x.shape[2:])
    return down.T @ (down @ noisy @ across.T * factor) @ across


def blurred(gradient: Tensor, kernel: int) -> Tensor:
    """Gradients of images smoothed with a Gaussian of `kernel` x `kernel` features and deviation kernel / (2 * 3) (TI: Dong et al. 2019,
    arXiv:1904.02884, equation 8)."""
    if gradient.ndim != 4:
        raise BadPlan(f"a kernel smooths gradients of images; these have shape {tuple(gradient.shape[1:])}: leave it out")
    at = torch.arange(kernel).to(gradient) - (kernel - 1) / 2
    line = torch.exp(-(at**2) / (2 * (kernel / 6) ** 2))
    line = (line / line.sum()).repeat(gradient.shape[1], 1)
    smooth = functional.conv2d(gradient, line[:, None, :, None], padding=(kernel // 2, 0), groups=len(line))
    return functional.conv2d(smooth, line[:, None, None, :], padding=(0, kernel // 2), groups=len(line))
