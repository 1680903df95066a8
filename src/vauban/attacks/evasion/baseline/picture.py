"""Changes that cameras and codecs make: contrast and blur, at every strength up to the threat's size."""

import torch
from torch.nn import functional

from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.threat import Access

PAPER = "Hendrycks and Dietterich 2019, arXiv:1903.12261"


@attack(Access.NONE, on=("linf", "l2", "l1"), baseline=True, paper=PAPER)
def contrast(o: Oracle, levels: Count = 10) -> None:
    """Blends with the middle of the box, and away from it, at growing strength."""
    middle = (torch.as_tensor(o.ball.lo, device=o.x.device) + torch.as_tensor(o.ball.hi, device=o.x.device)) / 2
    for i in o.steps(levels):
        strength = (i + 1) / levels
        flatter, harder = o.x + strength * (middle - o.x), o.x - strength * (middle - o.x)
        o.submit(torch.stack([o.project(flatter), o.project(harder)]))


@attack(Access.NONE, on=("linf", "l2", "l1"), baseline=True, images=True, paper=PAPER)
def blur(o: Oracle, levels: Count = 5, widest: Positive = 3.0) -> None:
    """Gaussian blur with a standard deviation growing to `widest` pixels."""
    for i in o.steps(levels):
        o.submit(o.project(_blurred(o.x, widest * (i + 1) / levels)))


def _blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Separable Gaussian filter of images (n, channels, height, width), edges repeated."""
    reach = max(int(3 * sigma + 0.5), 1)
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 1, -1)
    padded = functional.pad(x, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, kernel, groups=x.shape[1])
    return functional.conv2d(across, kernel.transpose(2, 3), groups=x.shape[1])
