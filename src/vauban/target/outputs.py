"""What the raw outputs of a model mean, recognised from the outputs themselves, and turned into scores fit for attack.

Every kind becomes logits up to a shift of each row, in which the losses of the attacks are invariant: probabilities by their logarithm, a
single sigmoid output by the pair (log(1 - p), log p).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vauban.errors import BadTarget, nearest

TINY = torch.finfo(torch.float32).tiny
DEEP = -1e30


def _log(p: Tensor) -> Tensor:
    return p.clamp_min(TINY).log()


def _column(z: Tensor) -> Tensor:
    return z.reshape(-1, 1)


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda z: z,
    "probabilities": _log,
    "log-probabilities": lambda z: z.clamp_min(DEEP),
    "sigmoid": lambda z: torch.cat([_log(1 - _column(z)), _log(_column(z))], 1),
    "binary-logit": lambda z: torch.cat([torch.zeros_like(_column(z)), _column(z)], 1),
}


def checked_kind(kind: str, who: str) -> str:
    """The kind itself, if it is one; "auto" is allowed."""
    if kind != "auto" and kind not in KINDS:
        raise BadTarget(f"{who}: outputs = {kind!r} is not a kind of output; {nearest(kind, [*KINDS, 'auto'])}")
    return kind


def tensor_of(raw: object, who: str) -> Tensor:
    """The classifier's output tensor, from a tensor or an object that carries `logits`; refuses anything else by what it looks like."""
    z = raw if isinstance(raw, Tensor) else getattr(raw, "logits", raw)
    if not isinstance(z, Tensor):
        raise BadTarget(
            f"{who}: the model returns {type(raw).__name__}, as detection and multi-task models do; Vauban attacks classifiers: "
            "wrap it in a function that returns one row of class scores for each input"
        )
    if z.ndim > 2:
        raise BadTarget(
            f"{who}: the outputs have shape {tuple(z.shape)}, as segmentation and detection models have; a classifier returns (rows, classes)"
        )
    if not z.is_floating_point():
        raise BadTarget(f"{who}: the model returns {z.dtype}, not scores; wrap it with vauban.Function(..., access='label')")
    return z


def recognise(z: Tensor, who: str) -> str:
    """The kind of raw outputs (n, classes) or (n,) of clean inputs.

    Raises:
        BadTarget: they are those of a regression or of a multi-label model.
    """
    z = z.detach().float()
    finite = z[torch.isfinite(z).all(1)] if z.ndim == 2 else z[torch.isfinite(z)]
    if len(finite) == 0:
        raise BadTarget(f"{who}: no clean input has finite outputs; the model cannot be judged")
    unit = bool(((finite >= 0) & (finite <= 1)).all())
    if z.ndim == 1 or z.shape[1] == 1:
        if unit:
            return "sigmoid"
        raise BadTarget(
            f"{who}: one output for each input, outside [0, 1], as regression models have; Vauban attacks classifiers "
            "(if it is the logit of a binary classifier, say outputs = 'binary-logit')"
        )
    return _recognise_columns(finite, z, who, unit=unit)


def _recognise_columns(finite: Tensor, z: Tensor, who: str, *, unit: bool) -> str:
    def sums_to_one(rows: Tensor) -> bool:
        return bool(((rows.double().sum(1) - 1).abs() < 1e-3).all())

    if unit and sums_to_one(finite):
        return "probabilities"
    no_nan = z[~torch.isnan(z).any(1)]
    if bool((no_nan <= 1e-6).all()) and sums_to_one(no_nan.exp()):
        return "log-probabilities"
    if unit:
        raise BadTarget(
            f"{who}: {z.shape[1]} outputs in [0, 1] that do not sum to 1, as multi-label models have; Vauban attacks models with one class "
            "for each input (if they are scores of one class each, say outputs = 'logits')"
        )
    return "logits"
