"""A PyTorch target written as an ONNX file that was seen to answer alike."""

from __future__ import annotations

import inspect
import os
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vauban.errors import BadTarget
from vauban.target.onnx import Onnx
from vauban.target.outputs import tensor_of
from vauban.target.torch import Torch

CLOSE = 1e-4
"""How far scores may lie apart, as a share of a row's largest (of probabilities: at all); their span is next to nothing where it is undecided."""
INPUT, OUTPUT = "x", "output"


def export_onnx(target: Torch, x: Tensor, path: Path) -> None:
    """Write the model, with its normalisation and its raw outputs, for any number of inputs; in one piece, and only if it answers alike.

    Alike: on all rows given, scores within 1e-4 of the row's largest, and the same class wherever that decides it.

    Args:
        target: what is written; it stays as it is, in evaluation mode or not.
        x: float (n, *shape), inputs to compare the answers to.
        path: the file.

    Raises:
        BadTarget: an operator has no ONNX form, or ONNX Runtime answers differently; nothing is written.
        Missing: ONNX Runtime is not installed.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadTarget(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        target.prepare(x[:256])
        _write(target, x[:2], beside)
        _compare(target, Onnx(beside, outputs=target.outputs, name=path.name), x)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BadTarget(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


class _Fed(nn.Module):
    """A module behind the normalisation that its target applies."""

    def __init__(self, model: nn.Module, mean: Tensor | None, std: Tensor | None, name: str) -> None:
        super().__init__()
        self.model, self.mean, self.std, self.named = model, mean, std, name

    def forward(self, x: Tensor) -> Tensor:
        if self.mean is not None:
            x = x - self.mean.view(-1, *[1] * (x.ndim - 2))
        if self.std is not None:
            x = x / self.std.view(-1, *[1] * (x.ndim - 2))
        return tensor_of(self.model(x), self.named)


def _write(target: Torch, x: Tensor, path: Path) -> None:
    mean, std = (None if t is None else t.cpu() for t in target.normalisation)
    fed = _Fed(deepcopy(target.model).cpu().eval(), mean, std, target.name)
    # the newer exporter needs a package more (onnxscript); both write the same operators
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    batch = {INPUT: {0: "n"}, OUTPUT: {0: "n"}}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(fed, (x.cpu(),), str(path), input_names=[INPUT], output_names=[OUTPUT], dynamic_axes=batch, **older)
    except Exception as error:  # the exporter raises what it comes across
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadTarget(f"{target.name}: cannot be written as ONNX: {why}") from error


def _compare(target: Torch, written: Onnx, x: Tensor) -> None:
    parts = [(_comparable(target, part), _comparable(written, part)) for part in x.split(256)]
    ours, theirs = (torch.cat(part) for part in zip(*parts, strict=True))
    if ours.shape != theirs.shape or not bool(torch.isfinite(theirs).all()):
        raise BadTarget(f"{target.name}: the ONNX file answers {tuple(theirs.shape)} scores that are not all finite; nothing was written")
    size = ours.abs().amax(1).clamp_min(1e-12) if target.outputs == "logits" else torch.ones(len(ours))
    apart = (theirs - ours).abs().amax(1) / size
    top = ours.topk(2, 1).values
    other = (ours.argmax(1) != theirs.argmax(1)) & (top[:, 0] - top[:, 1] > 2 * CLOSE * size)
    far = int((apart > CLOSE).sum())
    if far or bool(other.any()):
        raise BadTarget(
            f"{target.name}: the ONNX file answers differently on {far} of {len(x)} rows, by up to {float(apart.max()):.1%} of the largest, "
            f"and gives {int(other.sum())} another class; nothing was written. What the model computes must not depend on values, on the batch or on "
            "chance in ways that tracing cannot follow"
        )


def _comparable(target: Torch | Onnx, x: Tensor) -> Tensor:
    """Logits as they are, all else as probabilities, in float64."""
    z = target.scores(x.to(target.device)).double().cpu()
    return z if target.outputs == "logits" else z.softmax(1)
