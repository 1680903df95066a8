"""Training that makes the model withstand more, in a campaign file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from vauban.campaign.file.fields import Count, Fraction, NormName, Seed, Share
from vauban.campaign.file.table import Table
from vauban.campaign.file.target import DataTable
from vauban.campaign.file.threat import AttackTable


class MethodTable(Table):
    """A way of training. Every key besides `name` is a setting of it (`vauban list methods` names them)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, use_attribute_docstrings=True)

    name: str
    """The method's name, such as "trades", or "file.py:function" for one of your own."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the method is told."""
        return dict(self.model_extra or {})


class HardenTable(Table):
    """Training that makes the model withstand more (`vauban harden`): by default on the worst inputs that an attack finds."""

    method: MethodTable = MethodTable(name="adversarial")
    """What loss is taken of a batch."""

    attack: AttackTable = AttackTable.model_validate({"name": "pgd", "steps": 7, "step": 0.36})
    """The inner loop: any attack, which here searches for the worst loss."""
    threat: str | None = None
    """The threat to train against; by default the first one with a radius and gradients."""
    norm: NormName | None = None
    """In place of the threat's norm."""
    eps: Fraction | None = None
    """In place of the threat's eps."""
    data: DataTable | None = None
    """The rows to train on; never those of the audit."""
    epochs: Count = 10
    """How often every row is seen."""
    batch: Count = 128
    """Rows in one step of training."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """How the weights are changed; "sgd" has a momentum of 0.9."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """The learning rate at its highest."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    """How the learning rate goes: up to `lr` over the first 40 % of the steps and down to 0, or always the same."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Weight decay of the optimiser."""
    label_smoothing: Share = 0.0
    """The share of each label that is spread over all classes."""
    clip: Annotated[float, Field(ge=0)] = 10.0
    """Gradients of a larger norm are scaled down to it; 0 for no limit."""
    ema: Share = 0.0
    """The decay of a running mean of the weights, such as 0.999, which is then what is kept; 0 for none."""
    clean_share: Share = 0.0
    """The share of the rows in each batch that are not attacked."""
    awp: Annotated[float, Field(ge=0)] = 0.0
    """Adversarial weight perturbation: by how much of their norm weights are moved up the loss before it is taken, such as 0.005; 0 for none."""
    input_gradient: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the squared norm of the loss's gradient in the clean input."""
    jacobian: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the squared norm of the scores' Jacobian in the clean input."""
    spectral: Annotated[float, Field(ge=0)] = 0.0
    """The largest spectral norm a weight matrix may have; 0 for no limit."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Images are shifted at random by up to so many pixels."""
    mirror: bool = False
    """Images are turned left to right at random."""
    ramp: Share = 0.3
    """The share of training over which eps grows from 0."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """"bfloat16" trains in mixed precision; "auto" does where that was measured to be faster."""
    held_out: Share = 0.1
    """The share of the rows that are kept apart to choose the best epoch by."""
    seeds: Count = 1
    """How many trainings to run, each with a seed of its own; the one that is most robust on held-out rows is kept, and how far they lie apart
    is told."""
    keep: Literal["best", "last"] = "best"
    """Which weights are kept: those most robust on held-out rows, or the last."""
    out: str = "hardened.safetensors"
    """Where the weights are written, relative to this file."""
    seed: Seed | None = None
    """Of the training's random numbers; by default that of the campaign."""
