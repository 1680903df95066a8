"""A service that remembers what it was asked and refuses what resembles it, with an account for each row: what OARS is measured and tested on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vauban.doors import Oracle
from vauban.target import Target, Torch, restrict
from vauban.threat import Access, Ball, Threat


class Blacklight(Target):
    """A model behind hashes of its questions (Li et al. 2022, "Blacklight: scalable defense for neural networks against query-based black-box
    attacks", USENIX Security, section 4).

    An input of features in [0, 1] is cut to levels of `step` of 255; each window of `window` levels in a row is hashed with a salt; the `hashes`
    largest are its fingerprint. What shares more than a share `threshold` of it with any earlier question of the same account is refused. Every
    question is remembered. The account of a question is its first feature, which a threat should not let an attacker change: so the service, which
    is one for all, couples no rows.

    Attributes:
        asked, refused: how many questions there were, and how many of them got no answer.
    """

    access = Access.SCORE
    refuses = True
    name = "blacklight"
    classes = 3

    def __init__(
        self, inner: Target, *, step: float = 50, window: int = 20, hashes: int = 50, threshold: float = 0.5, salt: int = 7
    ) -> None:
        self.inner, self.step, self.window, self.hashes, self.threshold = inner, step, window, hashes, threshold
        g = np.random.default_rng(salt)
        self.salts = g.integers(-(2**63), 2**63 - 1, window, dtype=np.int64) | 1
        self.accounts: dict[int, np.ndarray] = {}
        self.asked = self.refused = 0

    def fingerprint(self, row: Tensor) -> np.ndarray:
        """The largest hashes of the windows of one input, int64, ascending, each once."""
        levels = np.floor(row.flatten().double().numpy() * 255 / self.step + 1e-6).astype(np.int64) + 1
        windows = np.lib.stride_tricks.sliding_window_view(levels, min(self.window, len(levels)))
        mixed = (windows * self.salts[: windows.shape[1]]).sum(1)
        mixed ^= (mixed >> 29) & ((1 << 35) - 1)
        mixed = mixed * np.int64(-4658895280553007687)
        return np.unique(mixed ^ ((mixed >> 32) & ((1 << 32) - 1)))[-self.hashes :]

    def passes(self, row: Tensor) -> bool:
        """Whether a question is answered; it is remembered either way."""
        key, found = round(float(row.flatten()[0]) * 1e6), self.fingerprint(row)
        past = self.accounts.get(key, np.empty((0, self.hashes), np.int64))
        shared = (found[found.searchsorted(past).clip(max=len(found) - 1)] == past).sum(1).max(initial=0)
        if shared < len(found):
            padded = np.pad(found, (0, self.hashes - len(found)), constant_values=found[-1] + 1)
            self.accounts[key] = np.concatenate([past, padded[None]])
        return bool(shared <= self.threshold * self.hashes)

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        passed = torch.tensor([self.passes(row) for row in x])
        self.asked, self.refused = self.asked + len(x), self.refused + int((~passed).sum())
        return torch.where(passed[:, None], self.inner.scores(x), torch.nan)

    def labels(self, x: Tensor, draw: object = None) -> Tensor:
        z = self.scores(x)
        return torch.where(z.isnan().all(1), -1, z.argmax(1))


class Waves(nn.Module):
    """A linear model of three classes whose weights are smooth over the image."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        coarse = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        w = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").flatten(1)
        self.w = nn.Parameter(w / w.norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - 0.5) @ self.w.T


def remembered(
    access: Access, ball: Ball, n: int = 8, *, queries: float = 300, only: int | None = None, side: int = 16, guarded: bool = True
) -> tuple[Oracle, Blacklight]:
    """An oracle over `n` noisy images, or over row `only` of them, each with an account of its own at a service that remembers."""
    model = Waves(side)
    x = 0.15 + 0.7 * torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0))
    x.view(n, -1)[:, 0] = (torch.arange(n) + 1) / 100
    y = model(x).argmax(1)
    service = Blacklight(Torch(model, outputs="logits"))
    rows = slice(None) if only is None else slice(only, only + 1)
    fixed = Ball(ball.eps, ball.norm, mask=[False, *[True] * (side * side - 1)])
    o = Oracle(
        restrict(service if guarded else service.inner, access),
        x[rows],
        y[rows],
        Threat("t", fixed, access=access, queries=queries),
        ids=torch.arange(n)[rows],
    )
    return o, service
