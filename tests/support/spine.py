"""Models that count, lines whose answers are known, and an attacker in two lines: what the tests of the oracle share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from worlds import Halfspace, rows

from vauban.doors import Oracle
from vauban.target import Target, Torch
from vauban.threat import INF, Access, Ball, Threat

FAR = Ball(0.4)
"""A ball in which every row of `worlds.rows` can be broken."""
NEAR = Ball(0.001)
"""One in which none can."""


class Counting(nn.Module):
    """Another model, with every row that passes through it counted, forwards and backwards."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = Halfspace() if inner is None else inner
        self.reset()

    def reset(self) -> None:
        self.calls = self.forwards = self.backwards = 0

    def _back(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.forwards += len(x)
        if x.requires_grad:
            x.register_hook(self._back)
        return self.inner(x)


class Table(nn.Module):
    """Scores read off the first features of the input: what a test writes there is what the model answers."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : self.classes]


class Touched(nn.Module):
    """Class 1 of 2 for whatever is not exactly one of the clean inputs; without gradient."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        same = (x.flatten(1)[:, None] == self.clean[None]).all(2).any(1).float()
        return torch.stack([same, 1 - same], 1)


class Noisy(Target):
    """A randomised target: class 1 with chance `p(x)`, drawn for each question from the noise of its row; else class 0."""

    access = Access.SCORE
    randomised = True
    name = "noisy"

    def __init__(self, p: Callable[[Tensor], Tensor]) -> None:
        self.p = p
        self.asked = 0

    def scores(self, x: Tensor, draw: object = None) -> Tensor:
        self.asked += len(x)
        lucky = draw.uniform(1)[:, 0] < self.p(x)  # type: ignore[attr-defined]
        return torch.stack([(~lucky).float(), lucky.float()], 1)


def line(*values: float) -> tuple[Tensor, Tensor]:
    """Rows of one feature, and the class 0."""
    return torch.tensor(values)[:, None], torch.zeros(len(values), dtype=torch.long)


def siege(
    model: nn.Module | Target | None = None, ball: Ball = FAR, *, n: int = 5, threat: dict[str, object] | None = None, **options: object
) -> Oracle:
    """An oracle over `n` rows of class 0 against a half-space; a counting model starts from zero."""
    x, y = rows(n)
    x, y = options.pop("x", x), options.pop("y", y)  # type: ignore[assignment]
    model = Halfspace() if model is None else model
    target = model if isinstance(model, Target) else Torch(model, outputs="logits")
    o = Oracle(target, x, y, Threat("t", ball, **(threat or {})), **options)  # type: ignore[arg-type]
    if isinstance(model, Counting):
        model.reset()
    return o


@contextmanager
def attacking(
    o: Oracle, access: Access = Access.GRADIENT, *, minimal: bool = False, queries: float = INF, name: str = "test"
) -> Generator[Oracle]:
    """The span of an attack by hand."""
    with o.attacking(name, access, minimal=minimal, queries=queries):
        yield o


def lit(o: Oracle, *rows_lit: int) -> Tensor:
    """The inputs, with these rows (places in the view) moved across the half-space."""
    mask = torch.zeros(len(o), dtype=torch.bool)
    mask[list(rows_lit)] = True
    return torch.where(mask.view(-1, 1, 1, 1), o.project(o.x + 0.3), o.x)
