"""Models of one line for the guard's tests: they answer by the brightness of a part of the picture, so that what they say is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from vauban.guard.quorum.calibrate import Asked, sign
from vauban.guard.quorum.ensemble import Ensemble, bundle
from vauban.guard.quorum.rows import Rows

SIZE = (24, 24)
FAMILIES = ("convolutional", "transformer", "mixer")


def tiny_onnx(path: Path, channel: int = 0, gain: float = 40.0, size: tuple[int, int] = SIZE, batch: int | str = "n") -> Path:
    """Logits (gain * (mean of one channel - 1/2), 0): "live" where the channel is bright."""
    weights = np.zeros((3, 2), np.float32)
    weights[channel, 0] = gain
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["output"]),
    ]
    held = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([-gain / 2, 0], np.float32), "b")]
    return save(path, nodes, held, size, batch)


def save(path: Path, nodes: Sequence[Any], held: Sequence[Any], size: tuple[int, int] = SIZE, batch: int | str = "n", **more: Any) -> Path:
    """A file with one input x (n, 3, h, w) and one output (n, 2)."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 2])],
        list(held),
    )
    opsets = [helper.make_opsetid("", 17), *more.pop("opsets", ())]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8, **more).SerializeToString())
    return path


def tiny_rows(live: int = 120, attacks: int = 60, size: tuple[int, int] = SIZE, seed: int = 0) -> Rows:
    """Bright pictures are live, dark ones prints or replays."""
    dice = np.random.default_rng(seed)
    count = live + attacks
    bright = np.concatenate([dice.uniform(0.55, 0.9, live), dice.uniform(0.1, 0.45, attacks)])
    noise = dice.uniform(-0.1, 0.1, (count, *size, 3))
    pixels = np.rint(np.clip(bright[:, None, None, None] + noise, 0, 1) * 255).astype(np.uint8)
    return Rows(list(pixels), ("live",) * live + tuple(("print", "replay")[i % 2] for i in range(attacks)))


def tiny_ensemble(
    folder: Path, key: Ed25519PrivateKey, name: str = "first", families: Sequence[str] = FAMILIES, size: tuple[int, int] = SIZE
) -> Ensemble:
    """An ensemble in `folder / name`, signed with the key: each model looks at another channel."""
    workshop = folder / f".{name}"
    workshop.mkdir(parents=True)
    rows = tiny_rows(size=size)
    made: list[Path] = []
    for channel, family in enumerate(families):
        path = tiny_onnx(workshop / f"{family}.onnx", channel % 3, 40.0 + channel + len(name), size)
        sign(path, rows, Asked(name=f"{name}-{family}", family=family), key)
        made.append(path.with_suffix(".json"))
    return bundle(folder / name, name, made, key, rows)


def picture(brightness: float | tuple[float, float, float], size: tuple[int, int] = SIZE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An even picture, uint8 (h, w, 3)."""
    return np.full((*size, 3), np.rint(np.array(brightness) * 255), np.uint8)


__all__ = ["FAMILIES", "SIZE", "onnx", "picture", "save", "tiny_ensemble", "tiny_onnx", "tiny_rows"]
