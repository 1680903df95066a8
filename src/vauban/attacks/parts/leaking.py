"""ReLUs that leak: exact forward, and backward they let through some of what they hold back, so that an ascent sees what lies behind them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vauban.doors import Aim, Loss, Oracle
from vauban.noise import RowNoise
from vauban.threat import INF

OUT_OF_PLACE = (torch.relu, torch.Tensor.relu)
IN_PLACE = (torch.relu_, torch.Tensor.relu_, F.relu_)


class Leaking(TorchFunctionMode):
    """While it is open, a ReLU that is off passes back `strength` x U^3 of its gradient, with a U in [0, 1) of its own for each unit.

    With a ReLU's own gradient an ascent cannot see a unit that is off, and units that are off everywhere near the clean input are how small
    robust networks hide. Leaving them out backwards is an old device of transfer attacks (Guo et al. 2020, arXiv:2012.03528); here every
    probe draws its own leaks, so that probes end in different places, and they close while the ascent goes on, so that it ends exact. Every
    other probe leaks in the first layer of ReLUs alone: where many are off, all together drown the gradient. What the model answers is
    untouched, and a model without ReLUs (or compiled, so that Python never sees them) keeps its gradient.

    Args:
        o: the oracle, for the seed; leaks depend on the attack, its restart, the probe and the unit, never on the row.
        probes: how many of each row are asked about in one question.

    Attributes:
        strength: in [0, 1], of all leaks; at 0 the gradient is the model's own.
        units: ReLUs that were computed while it was open, over all answers.
    """

    def __init__(self, o: Oracle, probes: int) -> None:
        super().__init__()
        self.strength = 0.0
        self.units = 0
        self._noise = RowNoise(torch.arange(probes, device=o.x.device), o.noise.seed, *o.noise.stream, "leak")
        self._leaks: dict[tuple[int, tuple[int, ...]], Tensor] = {}
        self._layer = 0
        self._probe = torch.zeros(0, dtype=torch.int64)
        self._seen = torch.zeros(0, dtype=torch.int64)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in OUT_OF_PLACE or (func is F.relu and not _in_place(args, kwargs)):
            return self._leaky(_input(args, kwargs))
        if func in IN_PLACE or func is F.relu:
            x = _input(args, kwargs)
            return x.copy_(self._leaky(x))
        return func(*args, **kwargs)

    def ascend(self, o: Oracle, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The lead (n, probes) of a target for each probe, int64 (n, probes), over the best losing class, and its leaking gradient like x.

        x is (n, probes, *shape).
        """
        self._layer, self._seen = 0, torch.zeros(len(o), dtype=torch.int64, device=x.device)
        across = x.transpose(0, 1)
        if self.strength > 0:
            with self:
                value, gradient = o.ascend(across, self._lead(target))
        else:
            value, gradient = o.ascend(across, self._lead(target))
        return value.T, gradient.transpose(0, 1)

    def _lead(self, target: Tensor) -> Loss:
        def lead(aim: Aim, z: Tensor) -> Tensor:
            rows = torch.arange(len(z), device=z.device) if aim.rows is None else aim.rows
            self._layer, self._probe = 0, self._probes_of(rows).clamp_max(target.shape[1] - 1)
            loser = z.masked_fill(aim.wins, -INF).amax(1)
            return z.gather(1, target[rows, self._probe][:, None])[:, 0] - loser

        return lead

    def _probes_of(self, rows: Tensor) -> Tensor:
        """Which probe each answer is of: a row's answers come in the order of its probes, over all the chunks of one question."""
        ordered, order = rows.sort(dim=0, stable=True)
        nth = torch.arange(len(rows), device=rows.device) - torch.searchsorted(ordered, ordered)
        probe = self._seen[rows].scatter_add(0, order, nth)
        self._seen = self._seen.index_add(0, rows, torch.ones_like(rows))
        return probe

    def _leaky(self, x: Tensor) -> Tensor:
        self._layer += 1
        self.units += x.numel()
        out: Tensor = Leak.apply(x, self, self._layer - 1)  # pyright: ignore[reportAssignmentType]
        return out

    def leaks(self, layer: int, like: Tensor) -> Tensor | None:
        """What the ReLUs of a layer pass back where they are off, like the gradient of its outputs; None where answers are not its rows."""
        if len(like) != len(self._probe):
            return None
        key = (layer, tuple(like.shape[1:]))
        if key not in self._leaks:
            drawn = self._noise.fork(layer).uniform(*key[1]) ** 3
            self._leaks[key] = drawn if layer == 0 else drawn * (torch.arange(len(drawn)) % 2).to(drawn).view(-1, *[1] * (drawn.ndim - 1))
        return self._leaks[key][self._probe] * self.strength


class Leak(torch.autograd.Function):
    """A ReLU whose gradient is another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaking: Leaking, layer: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        out = x.clamp_min(0)
        ctx.save_for_backward(out)
        ctx.leaking, ctx.layer = leaking, layer
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (out,) = ctx.saved_tensors
        leaks = ctx.leaking.leaks(ctx.layer, gradient)
        return torch.where(out > 0, gradient, 0.0 if leaks is None else gradient * leaks), None, None


def _input(args: Any, kwargs: Any) -> Tensor:
    return args[0] if args else kwargs["input"]


def _in_place(args: Any, kwargs: Any) -> bool:
    return bool(args[1] if len(args) > 1 else kwargs.get("inplace", False))
