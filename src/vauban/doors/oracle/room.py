"""How many rows a pass with gradients has room for, from what one row makes autograd keep and the memory that is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from vauban.doors.oracle.passes import out_of_memory
from vauban.errors import NotGranted
from vauban.noise import RowNoise
from vauban.target import Surrogate

ON_CPU, ELSEWHERE = 256, 1024
"""Rows in a pass where memory does not matter."""
HELD = 20_000
"""No usual network keeps more than so many times the size of its input (a WideResNet-28-10: some 2,500). Where that fits, nothing is measured."""
SPARE = 4
"""Of the memory that is free, what is kept is to take at most a quarter: passing back through it takes as much again, and others live here too."""
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def usual_rows(device: torch.device) -> int:
    """Rows in one pass where memory does not matter."""
    return ON_CPU if device.type == "cpu" else ELSEWHERE


def rows_with_room(surrogate: Surrogate, x: Tensor, noise: RowNoise, most: int) -> int:
    """Rows of one pass with gradients: `most`, or the largest power of two that has room. It changes how fast answers come, not what they are.

    Args:
        surrogate: what gradients are taken from, held, its outputs known.
        x: float (n, *shape), rows as they will be asked.
        noise: of these rows, for what is random; nothing is drawn from it that an attack draws.
    """
    room = free_bytes(x.device) // SPARE
    if len(x) < 2 or x[0].nbytes * HELD * most <= room:
        return most
    try:
        two, one = (_kept(surrogate, x[:n], noise.take(torch.arange(n, device=x.device))) for n in (2, 1))
    except NotGranted:
        return most  # it has no gradients to make room for
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return 1
    fits = room // max(two - one, 1)
    return most if fits >= most else 1 << max(int(fits).bit_length() - 1, 0)


def _kept(surrogate: Surrogate, x: Tensor, noise: RowNoise) -> int:
    """Bytes that autograd keeps of a pass of these rows. What it keeps of the model itself is the same for one row and for two."""
    sizes: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        surrogate.smooth(x.detach().requires_grad_(), noise)
    return sum(sizes.values())


def free_bytes(device: torch.device) -> int:
    """Memory that may still be taken: the device's, with what PyTorch holds and does not use; else the machine's, within its container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_free_of_machine(), _free_of_container())


def _free_of_machine() -> int:
    if MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 1 << 32


def _free_of_container() -> int:
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if not (limit.is_file() and used.is_file()) or (most := limit.read_text().strip()) == "max":
        return 1 << 62
    return max(int(most) - int(used.read_text()), 0)
