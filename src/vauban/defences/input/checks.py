"""What inputs a step takes, said in one sentence where it does not take these."""

from __future__ import annotations

from torch import Tensor

from vauban.errors import BadData

SLACK = 1e-4
"""How far outside [0, 1] a value may lie by rounding."""


def images(x: Tensor, name: str, *, channels: tuple[int, ...] = (), least: int = 1) -> None:
    """Raise `BadData` unless x are images (n, channels, height, width) at least so high and wide, with one of these numbers of channels."""
    if x.ndim != 4:
        raise BadData(f"defence {name!r} takes images (channels, height, width), and these inputs have shape {tuple(x.shape[1:])}")
    if channels and x.shape[1] not in channels:
        listed = " or ".join(map(str, channels))
        raise BadData(f"defence {name!r} takes images of {listed} channels, and these have {x.shape[1]}")
    if min(x.shape[2:]) < least:
        raise BadData(f"defence {name!r} as set takes images of {least} x {least} and more, and these are {x.shape[2]} x {x.shape[3]}")


def unit_range(x: Tensor, name: str) -> None:
    """Raise `BadData` where values lie outside [0, 1]."""
    if not x.numel():
        return
    low, high = x.detach().aminmax()
    if float(low) < -SLACK or float(high) > 1 + SLACK:
        raise BadData(
            f"defence {name!r} takes values in [0, 1], and these span [{float(low):g}, {float(high):g}]; scale the data, and the model with it"
        )


def enough(rows: int, least: int, name: str, why: str = "") -> None:
    """Raise `BadData` where a defence is to be fitted on too few clean rows."""
    if rows < least:
        raise BadData(f"defence {name!r} cannot be fitted on {rows} clean rows{why}; give {least} or more")
