"""Defences that the literature broke, small enough to train in seconds, each with the attack that sees through it. Seeds are fixed."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import vauban
from vauban.attacks import Attack, find
from vauban.campaign.record import Finding
from vauban.doors import Oracle
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target
from vauban.threat import Ball, Threat

torch.set_num_threads(1)
PLAIN = find("pgd").bind(steps=20)
"""What a hurried paper evaluates with."""
AWARE = find("pgd").bind(loss="margin")
TRAINED, ROWS = 1300, 96


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits, float32 (n, 1, 8, 8) in [0, 1], shuffled, and their labels."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    return x[order], torch.tensor(data.target)[order]


def held_out() -> tuple[Tensor, Tensor]:
    """The rows that are attacked."""
    x, y = digits()
    return x[TRAINED : TRAINED + ROWS], y[TRAINED : TRAINED + ROWS]


def trained(
    model: nn.Module,
    epochs: int = 12,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    rate: float = 3e-3,
    data: tuple[Tensor, Tensor] | None = None,
) -> nn.Module:
    """The model, trained with Adam on the first digits, or on other data."""
    x, y = data or (t[:TRAINED] for t in digits())
    g = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=g).split(100):
            optimiser.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A model with the weights of seed 0; the caller's random numbers are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def mlp(inputs: int = 64, width: int = 96) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 10))


@cache
def undefended() -> nn.Module:
    """The network behind most of the defences."""
    return trained(seeded(mlp))


def torch_target(model: nn.Module, reject: int | None = None) -> vauban.Torch:
    return vauban.Torch(model, outputs="logits", reject=reject)


class Levels(nn.Module):
    """Activations on a few levels (Lin et al. 2019, arXiv:1904.08444). Trained straight through; `straight` is off when it is deployed."""

    def __init__(self, levels: int = 4, most: float = 3.0) -> None:
        super().__init__()
        self.step, self.most, self.straight = most / levels, most, True

    def forward(self, h: Tensor) -> Tensor:
        hard = (h.clamp(0, self.most) / self.step).round() * self.step
        return h.relu() + (hard - h.relu()).detach() if self.straight else hard


def straightened(model: nn.Module, on: bool) -> nn.Module:
    """A copy with the gradient of every `Levels` straight through, or zero."""
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if isinstance(part, Levels):
            part.straight = on
    return twin


class Winners(nn.Module):
    """k winners take all: only the largest activations are kept (Xiao et al. 2020, arXiv:1905.10510)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, h: Tensor) -> Tensor:
        least = h.topk(max(int(self.share * h.shape[1]), 1), 1).values[:, -1:]
        return h * (h >= least)


class Before(nn.Module):
    """A step before a network."""

    def __init__(self, step: Callable[[Tensor], Tensor], net: nn.Module) -> None:
        super().__init__()
        self.step, self.net = step, net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.step(x))


class Times(nn.Module):
    """Logits times a constant: a softmax that is always sure."""

    def __init__(self, net: nn.Module, factor: float) -> None:
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.factor


def rounded(x: Tensor) -> Tensor:
    """16 levels, out of reach of the gradient."""
    return (x.detach() * 16).round() / 16


def thermometer(x: Tensor, levels: int = 10) -> Tensor:
    """(n, 1, 8, 8) to (n, levels, 8, 8): channel i says whether the pixel is above i / levels (Buckman et al. 2018)."""
    edges = (torch.arange(levels) / levels).view(1, -1, 1, 1)
    return (x > edges).to(x)


def soft_thermometer(x: Tensor, levels: int = 10) -> Tensor:
    """The ramps that the steps of `thermometer` round (Athalye et al. 2018, arXiv:1802.00420, section 4.1.1)."""
    edges = (torch.arange(levels) / levels).view(1, -1, 1, 1)
    return ((x - edges) * levels / 2 + 0.5).clamp(0, 1)


def jpeg(x: Tensor, quality: int = 60) -> Tensor:
    """Compressed and opened again (Guo et al. 2018, arXiv:1711.00117)."""
    done: list[np.ndarray] = []
    for picture in (x.detach()[:, 0].cpu().numpy() * 255).round().astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        done.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(done)).float()[:, None] / 255


def resized(x: Tensor, draw: RowNoise, size: int = 12) -> Tensor:
    """Resized at random and put somewhere on a larger canvas (Xie et al. 2018, arXiv:1711.01991); each row by its own noise."""
    side, place = 8 + draw.integers(size - 7), draw.uniform(2)
    corner = (place * (size - side + 1)[:, None]).long()
    at = torch.arange(size) - corner[:, :, None]
    source, inside = (at * 8 // side[:, None, None]).clamp(0, 7), (at >= 0) & (at < side[:, None, None])
    n = torch.arange(len(x))[:, None, None]
    picked = x[n, 0, source[:, 0, :, None], source[:, 1, None, :]]
    return (picked * (inside[:, 0, :, None] & inside[:, 1, None, :]))[:, None]


class Gated(nn.Module):
    """A network, and a detector of attacks on it: what it holds for one is refused, in the last column (Carlini and Wagner 2017,
    arXiv:1705.07263).

    The refusal is a switch without gradient; `soft`, as an attacker would write it, it is the detector's own score.
    """

    def __init__(self, net: nn.Module, detector: nn.Module, threshold: float, *, soft: bool = False) -> None:
        super().__init__()
        self.net, self.detector, self.threshold, self.soft = net, detector, threshold, soft

    def forward(self, x: Tensor) -> Tensor:
        z, seen = self.net(x), self.detector(x) - self.threshold
        refusal = z.amax(1, keepdim=True) + (seen if self.soft else torch.where(seen > 0, 1.0, -1.0))
        return torch.cat([z, refusal if self.soft else refusal.detach()], 1)


def detector() -> tuple[nn.Module, float]:
    """A network that tells the first digits from what PGD makes of them, and the score that 2% of the digits exceed."""
    x, y = (t[:TRAINED] for t in digits())
    o = Oracle(torch_target(undefended()), x, y, Threat("inner", Ball(0.2)), settle="worst")
    find("pgd").bind(steps=10)(o)
    both, said = torch.cat([x, o.outcome.best]), torch.cat([torch.zeros(len(x)), torch.ones(len(x))])
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 1)))
    trained(net, loss=lambda z, t: F.binary_cross_entropy_with_logits(z[:, 0], t), data=(both, said))
    return net, float(net(x).detach().quantile(0.98))


@dataclass(frozen=True)
class Defence:
    """A defence as it was published, and as it was broken.

    Attributes:
        target, attacks, eps: what a hurried evaluation attacks, and how.
        doubts: what must be said about its number.
        undone: the target and the surrogate that an attacker who knows the defence uses, and the attack.
        trusted: whether these doubts must be gone then; they stay where they are about the model rather than about the attack.
    """

    target: Target
    doubts: frozenset[str]
    undone: tuple[Target, Surrogate | None, Attack]
    attacks: tuple[Attack, ...] = (PLAIN,)
    eps: float = 0.2
    trusted: bool = True

    def attacked(self) -> Finding:
        """The hurried evaluation."""
        return self._audit(self.target, None, self.attacks)

    def adapted(self) -> Finding:
        """The evaluation by an attacker who knows the defence."""
        target, surrogate, attack = self.undone
        return self._audit(target, surrogate, (attack,))

    def _audit(self, target: Target, surrogate: Surrogate | None, attacks: tuple[Attack, ...]) -> Finding:
        x, y = held_out()
        return vauban.audit(target, x, y, Threat("insider", Ball(self.eps)), attacks=attacks, surrogate=surrogate)["insider"]


def before_network(step: Callable[[Tensor], Tensor], *doubts: str) -> Defence:
    """A step that cuts the gradient, and the same seen straight through (BPDA)."""
    seen = vauban.Preprocessed(step, torch_target(undefended()))
    return Defence(torch_target(Before(step, undefended())), frozenset(doubts), (seen, None, AWARE))


def quantised_activations() -> Defence:
    net = trained(seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 96), Levels(), nn.Linear(96, 10))))
    target = torch_target(straightened(net, False))
    doubts = {"zero-gradients", "quantised-input", "finite-differences-disagree", "scores-beat-gradients"}
    return Defence(target, frozenset(doubts), (target, torch_target(straightened(net, True)), AWARE))


def winners_take_all() -> Defence:
    net = trained(
        seeded(
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 600), Winners(0.05), nn.Linear(600, 600), Winners(0.05), nn.Linear(600, 10))
        ),
        epochs=8,
    )
    target = torch_target(net)
    doubts = {"noisy-loss-surface", "scores-beat-gradients"}
    return Defence(target, frozenset(doubts), (target, None, find("square").bind(queries=500)), trusted=False)


def gradient_stopping() -> Defence:
    return before_network(rounded, "interrupted-graph", "zero-gradients", "transfer-beats-gradients", "scores-beat-gradients")


def saturated_softmax() -> Defence:
    target = torch_target(Times(undefended(), 1000.0))
    return Defence(target, frozenset({"zero-gradients", "more-steps-help"}), (target, None, AWARE))


def distilled() -> Defence:
    """Trained at temperature 100 and deployed at 1 (Papernot et al. 2016; broken by Carlini and Wagner 2017, arXiv:1608.04644)."""
    net = trained(seeded(mlp), epochs=20, loss=lambda z, y: F.cross_entropy(z / 100, y), rate=1e-2)
    target = torch_target(net)
    return Defence(target, frozenset({"zero-gradients", "more-steps-help"}), (target, None, AWARE))


def thermometer_encoding() -> Defence:
    net = trained(seeded(lambda: Before(thermometer, mlp(640))))
    seen = vauban.Preprocessed(thermometer, torch_target(net.net), backward=soft_thermometer)
    doubts = {"interrupted-graph", "zero-gradients", "quantised-input", "scores-beat-gradients"}
    return Defence(torch_target(net), frozenset(doubts), (seen, None, AWARE))


def jpeg_compression() -> Defence:
    return before_network(jpeg, "interrupted-graph", "zero-gradients", "transfer-beats-gradients")


def random_resizing() -> Defence:
    """Evaluated, as it was published, by one step; broken by an expectation over draws (Athalye et al. 2018, section 5.3)."""
    g = torch.Generator().manual_seed(5)
    net = trained(
        seeded(lambda: Before(lambda x: resized(x, RowNoise(torch.randint(1 << 40, (len(x),), generator=g))), mlp(144, 256))), epochs=25
    ).net

    def answer(x: Tensor, draw: RowNoise) -> Tensor:
        return net(resized(x, draw))

    def target() -> vauban.Function:
        return vauban.Function(answer, access="gradient", as_numpy=False, randomised=True, outputs="logits")

    mean = vauban.Expectation(target(), 16)
    once = (find("fgsm").bind(),)
    return Defence(target(), frozenset({"too-few-draws"}), (target(), mean, AWARE), once, 0.1)


def gated_by_detector() -> Defence:
    net, threshold = detector()
    target = torch_target(Gated(undefended(), net, threshold), reject=10)
    soft = torch_target(Gated(undefended(), net, threshold, soft=True), reject=10)
    undone = (target, soft, find("pgd").bind(loss="margin", steps=100))
    return Defence(target, frozenset({"stopped-by-rejection", "unbounded-attack-fails"}), undone)


DEFENCES: dict[str, Callable[[], Defence]] = {
    make.__name__: make
    for make in (
        quantised_activations, winners_take_all, gradient_stopping, saturated_softmax, distilled, thermometer_encoding, jpeg_compression,
        random_resizing, gated_by_detector,
    )
}  # fmt: skip
