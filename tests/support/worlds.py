"""Small worlds whose smallest adversarial change is known in closed form, for the contract that every attack faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vauban.attacks import ATTACKS, Attack
from vauban.doors import Oracle
from vauban.target import Own, Torch
from vauban.threat import INF, Access, Ball, Feature, Features, Goal, Patch, Threat, Transformations

torch.set_num_threads(1)
SHAPE = (1, 6, 6)
COLOURED = (2, 6, 6)
PLACED = ("pixels", "patch")
"""Kinds that need images; their worlds have two channels, so that a pixel is more than a feature."""
COUNTED = ("l0", *PLACED)
"""Kinds whose radius is a whole number."""
SMALL: dict[str, object] = {
    "steps": 60,
    "searches": 6,
    "trial": 10,
    "rate": 0.05,
    "tries": 4,
    "levels": 4,
    "grid": 7,
    "restarts": 2,
    "alpha": 0.2,
    "queries": 800,
}


class Halfspace(nn.Module):
    """Two classes split by w.x = b, and a third that is never answered."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        g = torch.Generator().manual_seed(3)
        self.w = nn.Parameter(torch.rand(math.prod(shape), generator=g) + 0.5)
        self.b = nn.Parameter(self.w.detach().sum() / 2)

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.w - self.b
        return torch.stack([-z, z, torch.full_like(z, -50)][: self.classes], 1)

    def smallest(self, x: Tensor, p: float) -> Tensor:
        """The norm of the smallest change that reaches the other side inside [0, 1], for rows on the negative side, float64."""
        w, gap = self.w.detach().double(), (self.b - x.flatten(1) @ self.w).detach().double()
        if p == INF:
            return gap / w.sum()
        if p == 2:
            return gap / w.norm()
        order = w.argsort(descending=True)
        room = (1 - x.flatten(1).double())[:, order]
        gain = (room * w[order]).cumsum(1)
        count = (gain < gap[:, None]).sum(1)
        if p == 0:
            return (count + 1).double()
        before = torch.where(count > 0, gain.gather(1, (count - 1).clamp_min(0)[:, None])[:, 0], 0.0)
        spent = torch.where(count > 0, room.cumsum(1).gather(1, (count - 1).clamp_min(0)[:, None])[:, 0], 0.0)
        return spent + (gap - before) / w[order][count]

    def gains(self, x: Tensor) -> Tensor:
        """By how much each pixel of images, all its channels at 1, moves rows towards the other side, float64 (n, height, width)."""
        return ((1 - x.double()) * self.w.detach().double().view(x.shape[1:])).sum(1)

    def gap(self, x: Tensor) -> Tensor:
        return (self.b - x.flatten(1) @ self.w).detach().double()

    def fewest_pixels(self, x: Tensor) -> Tensor:
        """How many pixels of images must change, float64."""
        reached = self.gains(x).flatten(1).sort(1, descending=True).values.cumsum(1)
        return (reached <= self.gap(x)[:, None]).sum(1).double() + 1

    def smallest_patch(self, x: Tensor) -> Tensor:
        """The side of the smallest square, at its best place, whose pixels reach the other side, float64."""
        gains, gap = self.gains(x), self.gap(x)
        best = torch.stack([gains.unfold(1, s, 1).unfold(2, s, 1).sum((-1, -2)).amax((1, 2)) for s in range(1, x.shape[3] + 1)], 1)
        return (best <= gap[:, None]).sum(1).double() + 1


class Pointer(nn.Module):
    """Where along the width is the light? Shifting a picture by s of its width moves the answer by s: right of the middle by 0.1 is class 1."""

    def __init__(self, size: int = 15, edge: float = 0.1) -> None:
        super().__init__()
        self.edge = edge
        self.register_buffer("place", (torch.arange(size) - (size - 1) / 2) / size)

    def forward(self, x: Tensor) -> Tensor:
        z = (x.sum((1, 2)) @ self.place) / x.sum((1, 2, 3)) - self.edge
        return torch.stack([-z, z, torch.full_like(z, -50)], 1) * 20


@dataclass(frozen=True)
class World:
    """A target, rows of class 0, and a threat just large enough (`room` 1.6) or too small (`room` 0.6) to reach class 1."""

    target: Torch
    x: Tensor
    y: Tensor
    kind: str
    optimum: Tensor

    def threat(self, attack: Attack, room: float, **fields: object) -> Threat:
        fields = {"access": attack.facts.access, **fields}
        if self.kind == "transformations":
            return Threat("t", Transformations(0, 0.1 * room), **fields)  # type: ignore[arg-type]
        eps = float((self.optimum.max() if room > 1 else self.optimum.min()) * room)
        if self.kind == "features":
            return Threat("t", Features([Feature(f"x{i}") for i in range(self.x.shape[1])], eps, "l2"), **fields)  # type: ignore[arg-type]
        if self.kind not in COUNTED:
            return Threat("t", Ball(eps, self.kind), **fields)  # type: ignore[arg-type]
        count = max(math.floor(eps), 2 if room > 1 else 1)
        counted = Patch(count) if self.kind == "patch" else Ball(count, "l0", pixels=self.kind == "pixels")
        return Threat("t", counted, **fields)  # type: ignore[arg-type]


def rows(n: int = 5, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    x = torch.full((n, *shape), 0.5) - 0.02 * torch.arange(1, n + 1).view(-1, *[1] * len(shape))
    return x, torch.zeros(n, dtype=torch.long)


def world(kind: str, n: int = 5, shape: tuple[int, ...] = SHAPE, classes: int = 3) -> World:
    if kind == "transformations":
        x = torch.zeros(n, 1, 15, 15)
        x[:, 0, 6:9, 6:9] = torch.rand(n, 3, 3, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.5
        x[:, 0, 6:9, 6:9] = (x[:, 0, 6:9, 6:9] + x[:, 0, 6:9, 6:9].flip(-1)) / 2  # the light is exactly in the middle
        return World(Torch(Pointer()), x, torch.zeros(n, dtype=torch.long), kind, torch.ones(n, dtype=torch.float64))
    shape = (math.prod(shape),) if kind == "features" else COLOURED if kind in PLACED and shape == SHAPE else shape
    model = Halfspace(shape, classes)
    x, y = rows(n, shape)
    if kind in PLACED:
        return World(Torch(model), x, y, kind, model.smallest_patch(x) if kind == "patch" else model.fewest_pixels(x))
    p = {"linf": INF, "l2": 2.0, "l1": 1.0, "l0": 0.0, "features": 2.0}[kind]
    return World(Torch(model), x, y, kind, model.smallest(x, p))


def small(name: str) -> Attack:
    """An attack with settings cut to the size of these worlds."""
    recipe = ATTACKS[name]
    settings = {k: p.default for k, p in recipe.parameters.items() if k not in recipe.preset}
    # a float that is called `steps` stretches a schedule: it is no number of steps
    return recipe.bind(**{k: v for k, v in SMALL.items() if k in settings and not (k == "steps" and isinstance(settings[k], float))})


def besiege(w: World, attack: Attack, threat: Threat, **options: object) -> Oracle:
    """Run one attack on a world; one that needs a surrogate of the attacker's own gets the model itself as such."""
    if attack.facts.prior:
        options.setdefault("surrogate", Own(w.target))
    if attack.facts.samples:
        options.setdefault("samples", rows(3, tuple(w.x.shape[1:])))
    o = Oracle(w.target, w.x, w.y, threat, **options)  # type: ignore[arg-type]
    attack(o)
    return o


CASES = [
    (name, kind)
    for name, recipe in sorted(ATTACKS.items())
    for kind in recipe.facts.on
    if not (recipe.facts.couples or recipe.facts.proof or recipe.facts.trees)
]
OPTIMISERS = [(name, kind) for name, kind in CASES if not ATTACKS[name].facts.baseline]
GRADIENTS = [(name, kind) for name, kind in CASES if ATTACKS[name].facts.access is Access.GRADIENT]
WANTED = Goal(wanted=1)
