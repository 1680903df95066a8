"""What training tells while it runs and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Epoch:
    """The state of the model after an epoch, measured on the held-out rows; epoch 0 is the model as it came.

    Attributes:
        number: epochs done.
        clean: the share of rows classified correctly, in [0, 1].
        fgsm, pgd: the share of the rows that the threat's goal is about that are classified correctly and stay so under one step of the
            fast gradient method, and under twenty steps of projected gradient ascent, at the threat's full radius.
        entropy: of the predicted classes, in nats; 0 for a constant predictor.
        loss: the mean training loss on attacked inputs; None for epoch 0.
        eps: the radius trained with at the end of the epoch, as a share of the threat's.
        seconds: of training, without the measurements.
        cost: the time of a training step over the time of a plain one (no attack), measured in the same epoch; None for epoch 0.
    """

    number: int
    clean: float
    fgsm: float
    pgd: float
    entropy: float
    loss: float | None = None
    eps: float = 0.0
    seconds: float = 0.0
    cost: float | None = None


@dataclass(frozen=True)
class Tick:
    """How far training is: told after every step, and with `measured` after every epoch (epoch 0 is the model as it came)."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    measured: Epoch | None = None


@dataclass(frozen=True)
class Hardened:
    """The result of a training. The model that was given holds the kept weights.

    Attributes:
        path: the kept weights (safetensors) in the checkpoint folder; None where there is none.
        history: one entry an epoch, from epoch 0.
        best: the number of the epoch whose weights were kept.
        cost: the time of training over that of plain training of as many steps (median over epochs); 1.0 would be free.
        stopped: why it ended before its time; empty where it did not.
        resumed: epochs that an earlier run had done.
    """

    path: Path | None
    history: tuple[Epoch, ...]
    best: int
    cost: float
    stopped: str = ""
    resumed: int = 0

    @property
    def before(self) -> Epoch:
        """The model as it came."""
        return self.history[0]

    @property
    def after(self) -> Epoch:
        """The epoch that was kept."""
        return self.history[self.best]

    @property
    def seconds(self) -> float:
        """Of training, all runs together."""
        return sum(e.seconds for e in self.history)
