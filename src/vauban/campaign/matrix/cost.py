"""What a defence costs whoever answers with it: time of an answer, and memory."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from vauban.campaign.run.verify import attributes, parts_of
from vauban.noise import RowNoise
from vauban.target import Target

ROWS, TURNS = 64, 7


def inference(target: Target, bare: Target, x: Tensor) -> float:
    """CPU time of an answer over that of the undefended target: medians of turns that alternate, on the same rows, after one to warm up."""
    rows = x[:ROWS]
    mine, yours = [], []
    for turn in range(TURNS + 1):
        for one, took in ((target, mine), (bare, yours)):
            began = time.process_time()
            _answered(one, rows, turn)
            took.append(time.process_time() - began)
    return median(mine[1:]) / max(median(yours[1:]), 1e-9)


def _answered(target: Target, x: Tensor, turn: int) -> None:
    ids = torch.arange(len(x), device=target.device)
    draw = RowNoise(ids, 0, "cost", turn) if target.randomised else None
    target.labels(x.to(target.device), draw)
    if target.device.type == "cuda":
        torch.cuda.synchronize(target.device)


def memory(target: Target) -> int:
    """Bytes of the weights and of everything fitted that the target holds, each tensor once."""
    found: dict[int, int] = {}
    for part in parts_of(target):
        for value in (inner for held in attributes(part) for inner in [held, *_inside(held)]):
            for tensor in _tensors(value):
                found[tensor.data_ptr()] = max(found.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
    return sum(found.values())


def _inside(value: object) -> list[object]:
    """What a detector or a step holds in turn."""
    return list(vars(value).values()) if hasattr(value, "__dict__") and not isinstance(value, nn.Module | type | Target) else []


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, nn.Module):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, Tensor):
        return [value]
    return [t for t in value if isinstance(t, Tensor)] if isinstance(value, list | tuple) else []
