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
        trained_on: `pgd` of as many of the rows that were trained on; None for epoch 0.
        chosen_by: what the method chooses the best epoch by, such as "certified"; empty for `pgd`.
        chosen: that share of the held-out rows; None for `pgd`.
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
    trained_on: float | None = None
    chosen_by: str = ""
    chosen: float | None = None

    @property
    def rank(self) -> tuple[float, ...]:
        """What epochs are compared by, the better the higher: what the method chooses by, then `pgd`, then `clean`."""
        return (self.pgd, self.clean) if self.chosen is None else (self.chosen, self.pgd, self.clean)


@dataclass(frozen=True)
class Tick:
    """How far training is: told after every step, and with `measured` after every epoch (epoch 0 is the model as it came).

    `seed` says which of several trainings it is about, where there are several.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    measured: Epoch | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Run:
    """One of several trainings that differ in their seed.

    Attributes:
        seed: of the recipe.
        epochs: done; 0 where it came to nothing, and then all below is 0.
        best: the number of the epoch whose weights it would keep.
        clean, pgd: of that epoch, on the held-out rows.
        cost: as that of `Hardened`.
        stopped: why it ended before its time, or came to nothing.
        chosen: what the method chooses by, of that epoch; None for `pgd`, and where it came to nothing.
    """

    seed: int
    epochs: int
    best: int
    clean: float
    pgd: float
    cost: float
    stopped: str = ""
    chosen: float | None = None

    @property
    def rank(self) -> tuple[float, ...]:
        """What trainings are compared by, the better the higher; one that came to nothing comes last."""
        own = () if self.chosen is None else (self.chosen,)
        return (float(self.epochs > 0), *own, self.pgd, self.clean)


@dataclass(frozen=True)
class Hardened:
    """The result of a training. The model that was given holds the kept weights.

    Attributes:
        path: the kept weights (safetensors) in the checkpoint folder; None where there is none.
        history: one entry an epoch, from epoch 0.
        best: the number of the epoch whose weights were kept.
        cost: the time of training over that of plain training of as many steps (mean over epochs, of medians over steps); 1.0 would be free.
            Of several trainings, their sum.
        stopped: why it ended before its time; empty where it did not.
        resumed: epochs that an earlier run had done.
        notes: what else must be said about the numbers, such as robust overfitting, or seeds that disagree.
        runs: one for each seed, where there were several; `history` is that of the one whose weights were kept.
    """

    path: Path | None
    history: tuple[Epoch, ...]
    best: int
    cost: float
    stopped: str = ""
    resumed: int = 0
    notes: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()

    @property
    def before(self) -> Epoch:
        """The model as it came."""
        return self.history[0]

    @property
    def after(self) -> Epoch:
        """The epoch that was kept."""
        return self.history[self.best]

    @property
    def done_before(self) -> bool:
        """Whether an earlier run had done all of it."""
        return self.resumed >= (sum(run.epochs for run in self.runs) or len(self.history) - 1)

    @property
    def seconds(self) -> float:
        """Of training the model that is kept, all sessions together."""
        return sum(e.seconds for e in self.history)
