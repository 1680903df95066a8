"""A model as a list of operations in float64, whose values over whole regions can be bounded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vauban.bounds.affine import Dense, Reshape
from vauban.bounds.bends import Curve
from vauban.bounds.interval import Interval, Rounding
from vauban.bounds.limits import Level, limits_of
from vauban.bounds.ops import Op, Shape
from vauban.bounds.region import Region
from vauban.bounds.trace import Reader
from vauban.bounds.translate import BATCH, Draft, Wire, scaled
from vauban.errors import BadTarget, Unsupported
from vauban.target import Target, Torch

ORDERED = 256
"""After a softmax, scores nearer than this many units of roundoff may come out in another order."""
LIKELY = 2.0**14
"""Units of roundoff by which scores that are computed again may differ from the deployed model's: a thousandth in float32."""


@dataclass(frozen=True, eq=False)
class Network:
    """A classifier written down as operations in the order in which they run.

    Attributes:
        ops: operation i reads the places in `ops[i].inputs` and writes place i + 1; place 0 is the input, the last one the scores.
        shape: one row of the input.
        rounding: what one rounding of the deployed model is worth.
        name: the model's name.
        resolution: scores must differ by more than this for the order of the answer to be sure; 0 unless a softmax follows them.
    """

    ops: tuple[Op, ...]
    shape: Shape
    rounding: Rounding
    name: str
    resolution: float = 0.0

    @property
    def classes(self) -> int:
        """Number of scores."""
        return self.ops[-1].shape[0]

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        tensors = (t for op in self.ops for t in vars(op).values() if isinstance(t, Tensor))
        return next((t.device for t in tensors), torch.device("cpu"))

    def values(self, x: Tensor) -> list[Tensor]:
        """The value at every place, float64, for inputs (n, *shape)."""
        found = [x.to(self.device, torch.float64)]
        for op in self.ops:
            found.append(op(*(found[i] for i in op.inputs)))
        return found

    def __call__(self, x: Tensor) -> Tensor:
        """Scores (n, classes) in float64."""
        return self.values(x)[-1]

    def bounds(self, x: Tensor, lo: Tensor, hi: Tensor, level: Level = "crown") -> list[Interval]:
        """Limits of the value at every place, for inputs between lo and hi (n, *shape); x are the clean ones.

        `bounds(...)[op.inputs[0]]` for an `op` that is a `Relu` are its pre-activation limits. They hold for the deployed model's own
        arithmetic, as `Rounding` describes.
        """
        return limits_of(self.ops, Region.box(*(t.to(self.device, torch.float64) for t in (x, lo, hi))), self.rounding, level)


def network_of(target: Target, x: Tensor) -> Network:
    """The operations of a target, for inputs like the rows x (n, *shape), n >= 1.

    The network is checked against the target: the target's answers to the first rows must lie within the network's own, give or take
    what rounding explains.

    Raises:
        Unsupported: it is no PyTorch module, branches on its input, or has an operator that bounds do not know.
        BadTarget: the network answers differently, because the model changes tensors in place or has hooks.

    >>> from torch import nn
    >>> target = Torch(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), outputs="logits")
    >>> [type(op).__name__ for op in network_of(target, torch.zeros(1, 4)).ops]
    ['Dense', 'Relu', 'Dense']
    """
    if not isinstance(target, Torch):
        raise Unsupported(f"{target.name}: bounds are of PyTorch modules, and this is a {target.kind} target")
    target.prepare(x[: BATCH + 5])
    with target.held(), torch.no_grad():
        network = _written(target, x)
        _check(network, target, x[:2])
    return network


def _written(target: Torch, x: Tensor) -> Network:
    draft = Draft()
    unit = drafted(target, x, draft)
    resolution = ORDERED * unit if target.outputs in ("probabilities", "log-probabilities", "sigmoid") else 0.0
    device = torch.device("cpu") if target.device.type == "mps" else target.device
    ops = tuple(moved(op, device) for op in draft.ops)
    return Network(ops, tuple(x.shape[1:]), Rounding.of(unit, target.device), target.name, resolution)


def drafted(target: Torch, x: Tensor, draft: Draft) -> float:
    """Write the operations of a target for inputs like x (n, *shape) into an empty draft; the coarsest unit roundoff of its values.

    The target's outputs are known, and its model is in evaluation mode.

    Raises:
        Unsupported: the model branches on its input, or has an operator that bounds do not know.
    """
    draft.shape, draft.where, draft.what = tuple(x.shape[1:]), "normalisation", "normalisation"
    wire = _normalised(draft, target, Wire(0, draft.shape))
    trial = torch.zeros(BATCH, *x.shape[1:], dtype=x.dtype, device=target.device)
    reader = Reader(target.model, trial, draft)
    _scores(draft, target, reader.read(target.name, wire))
    return reader.unit


def _normalised(draft: Draft, target: Torch, wire: Wire) -> Wire:
    """The target's own normalisation; its mean and standard deviation are numbers a channel."""
    mean, std = target._mean, target._std  # pyright: ignore[reportPrivateUsage]  # a fact of the target, which it keeps to itself
    around = (-1, *[1] * (len(draft.shape) - 1))
    if mean is not None:
        shift = -mean.detach().cpu().double().view(around)
        wire = scaled(draft, wire, torch.ones_like(shift), shift)
    if std is not None:
        scale = 1 / std.detach().cpu().double().view(around)
        wire = scaled(draft, wire, scale, torch.zeros_like(scale))
    return wire


def _scores(draft: Draft, target: Torch, wire: Wire) -> None:
    """What `vauban.target.outputs` makes of the model's outputs: two columns of a binary classifier, logits of a softmax."""
    kind, draft.where, draft.what = target.outputs, "scores", f"outputs of kind {target.outputs!r}"
    if kind == "sigmoid" and wire.place and isinstance(last := draft.ops[-1], Curve) and last.kind == "sigmoid":
        draft.ops.pop()
        wire = Wire(last.inputs[0], last.shape)
    elif kind == "sigmoid" or draft.closed not in ("", kind) or (kind in ("probabilities", "log-probabilities") and not draft.closed):
        raise draft.refuse(f"unless they end the model (it ends in {draft.closed or 'another operator'})")
    if kind in ("sigmoid", "binary-logit"):
        if wire.shape == ():
            wire = draft.add(Reshape, wire, shape=(1,), before=())
        weight = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        wire = draft.add(Dense, wire, shape=(2,), weight=weight, bias=torch.zeros(2, dtype=torch.float64))
    if len(wire.shape) != 1:
        raise draft.refuse(f"of shape {wire.shape}")
    del draft.ops[wire.place :]  # what nothing of the scores is made of
    if not draft.ops:
        draft.add(Reshape, wire, shape=wire.shape, before=wire.shape)


def moved(op: Op, to: torch.device) -> Op:
    """An operation with its numbers on a device."""
    return replace(op, **{f.name: v.to(to) for f in fields(op) if isinstance(v := getattr(op, f.name), Tensor)})


def _check(network: Network, target: Torch, x: Tensor) -> None:
    """Refuse a network that does not answer as its target does, for the first rows."""
    answer = target.scores(x.to(target.device)).to(network.device, torch.float64)
    clean = x.to(network.device, torch.float64)
    if network.resolution:
        off = (answer.softmax(1) - network(clean).softmax(1)).abs() - 1e-4
    else:
        found = limits_of(network.ops, Region.box(clean, clean, clean), network.rounding, "interval")[-1]
        near = LIKELY * max(network.rounding.unit, network.rounding.factor) * (1 + answer.abs().amax(1, keepdim=True))
        exact = network(clean)
        off = torch.maximum(torch.maximum(found.lo, exact - near) - answer, answer - torch.minimum(found.hi, exact + near))
    if answer.shape[1] != network.classes or bool((off > 0).any()):
        raise BadTarget(
            f"{network.name}: its operators, computed again, give scores that are off by {float(off.max()):.2g}; a model that changes tensors "
            "in place, has hooks or draws noise cannot be certified"
        )
