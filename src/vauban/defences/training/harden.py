"""Training from its beginning, or from its checkpoint, to its end: by default on the worst inputs that an attack finds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from torch import nn

from vauban.attacks import Attack
from vauban.attacks import Recipe as Unbound
from vauban.attacks import find as find_attack
from vauban.defences.training.checkpoint import Checkpoint, Progress
from vauban.defences.training.gates import Probe, TrainingStopped, best_of, check_attack, check_not_constant, overfitted, remembered
from vauban.defences.training.inner import for_training
from vauban.defences.training.method import Manner, Method, find
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.result import Epoch, Hardened, Tick
from vauban.defences.training.rows import Given, Part, apart, few, part_of, some
from vauban.defences.training.seeds import DONE, Trials
from vauban.defences.training.steps import State, Steps
from vauban.defences.training.trainee import Trainee, modes_kept
from vauban.errors import BadPlan, BadTarget
from vauban.target import Torch
from vauban.threat import Threat

Tell = Callable[[Tick], None]


def harden(
    model: nn.Module | Torch,
    data: Given,
    threat: Threat,
    attack: Attack | Unbound[...] | None = None,
    recipe: Recipe | None = None,
    *,
    method: Method | Manner[...] | None = None,
    held_out: Given | None = None,
    seeds: int = 1,
    checkpoint: str | Path | None = None,
    fresh: bool = False,
    progress: Tell | None = None,
) -> Hardened:
    """Train a model, in place, to withstand a threat: by default on the worst inputs that an attack finds within its radius.

    The attack sees the model in evaluation mode, the loss in training mode; afterwards every module is in the mode it was in, and the model
    has the weights of the epoch that withstood PGD best on held-out rows, or was best by what the method chooses by, such as what is certified.

    Args:
        model: a classifier, trained or not; a `Torch` target where it needs a declared normalisation or kind of outputs.
        data: the rows to train on: `Rows`, or float (n, *shape) inputs inside the threat's box and int64 (n,) classes. Never those of the
            audit.
        threat: what the attacker may do and wants. Rows that a directional goal does not concern are trained on as they are.
        attack: the inner loop, any attack that raises a loss; what it asks last is what is trained on. By default `pgd(steps=7, step=0.36)`,
            with which a step costs about eight plain ones.
        recipe: everything else; by default `Recipe()`.
        method: what loss is taken of a batch, one of `vauban.defences.training.METHODS` such as `trades(beta=6)`; by default `adversarial`,
            cross-entropy on what the inner loop finds (Madry et al. 2018, arXiv:1706.06083, section 2).
        held_out: the rows to measure after every epoch and to choose the best by; by default a share of `data` is kept apart.
        seeds: how many trainings to run, from the same weights, with the recipe's seed and those after it. The one that withstood PGD best on
            the held-out rows is kept, and `result.notes` says how far they lie apart.
        checkpoint: a folder that is written after every epoch. The same call goes on where a killed one was, to bitwise the same weights
            (on one CPU thread), and does nothing when it is done.
        fresh: forget what the checkpoint holds.
        progress: told after every step and every epoch.

    Raises:
        TrainingStopped: the model ended as a constant predictor, or the loss was not finite before anything was learnt.
        BadPlan, BadData, BadTarget, BadRun: something cannot be done as asked; one sentence says what, and the mend.
    """
    recipe, trainee = recipe or Recipe(), Trainee.of(model)
    attack = find_attack("pgd").bind(steps=7, step=0.36) if attack is None else attack.bind() if isinstance(attack, Unbound) else attack
    how = find("adversarial").bind() if method is None else method.bind() if isinstance(method, Manner) else method
    threat = for_training(threat)
    if not any(p.requires_grad for p in trainee.model.parameters()):
        raise BadTarget(f"{trainee.name}: no parameter can be trained; set requires_grad on those that may change")
    rows = part_of(data, trainee, threat)
    check_attack(attack, threat, tuple(rows.x.shape[1:]))
    threats = how.threats(threat)
    trainee.prepare(rows.x[:256].to(trainee.device))
    rows, held = apart(rows, recipe.held_out, recipe.seed) if held_out is None else (rows, part_of(held_out, trainee, threat))
    parts, tell = (rows, few(held, recipe.seed)), progress or _quiet

    def training(seed: int, tell: Tell = tell) -> Training:
        return Training(trainee, parts, threats, attack, replace(recipe, seed=seed), how, tell, recipe.seed)

    def trained(seed: int, folder: Path | None) -> Hardened:
        return training(seed, lambda tick: tell(replace(tick, seed=seed))).run(_kept(folder, fresh=fresh))

    if seeds < 1:
        raise BadPlan(f"seeds = {seeds} must be a whole number, 1 or more")
    folder = None if checkpoint is None else Path(checkpoint)
    with modes_kept(trainee.model):
        if seeds == 1:
            return training(recipe.seed).run(_kept(folder, fresh=fresh))
        if fresh and folder is not None:
            (folder / DONE).unlink(missing_ok=True)
        wanted = range(recipe.seed, recipe.seed + seeds)
        return Trials(trainee, wanted, trained, folder, f"{training(recipe.seed).settings} {seeds}").run()


def _kept(folder: Path | None, *, fresh: bool) -> Checkpoint | None:
    keep = None if folder is None else Checkpoint(folder)
    if keep is not None and fresh:
        keep.clear()
    return keep


def _quiet(_: Tick) -> None:
    """Nobody is told."""


class Training:
    """One training from its beginning, or from its checkpoint, to its end.

    Args:
        parts: rows to train on, and held-out rows.
        threats: what the method trains against; the first is the one that is stated.
        measuring: the seed of the measurements.
    """

    def __init__(
        self,
        trainee: Trainee,
        parts: tuple[Part, Part],
        threats: Sequence[Threat],
        attack: Attack,
        recipe: Recipe,
        method: Method,
        tell: Tell,
        measuring: int,
    ) -> None:
        self.trainee, self.recipe, self.tell = trainee, recipe, tell
        (rows, held), threat = parts, threats[0]
        self.steps = Steps(trainee, rows, threat, attack, recipe, method)
        self.probe = Probe(trainee, held, threats, attack, measuring, method)
        self.seen = Probe(trainee, some(rows, recipe.seed), threats, attack, measuring)
        said = (recipe, threat, attack.name, dict(attack.settings), method.name, dict(method.settings), rows.sha256, held.sha256)
        self.settings = hashlib.sha256(repr(said).encode()).hexdigest()
        self.best: State = {}

    def run(self, keep: Checkpoint | None) -> Hardened:
        """Train to the end; what is done already is not done again."""
        found = None if keep is None else keep.read(self.settings, self.trainee.sha256())
        if keep is not None and found is not None and found.result:
            self.trainee.model.load_state_dict(keep.result())
            return self._told(found, keep, len(found.history) - 1)
        now = self._begun(keep) if keep is None or found is None else self._resumed(keep, found)
        done = len(now.history) - 1
        self.steps.low = now.precision == "bfloat16"
        with self.trainee.laid_out(channels_last=self.steps.low):
            while len(now.history) <= self.recipe.epochs and not now.stopped:
                now = self._next(now, keep)
        check_not_constant(now.history, self.probe, steps=self._taken(now.history), final=True)
        return self._told(self._finished(now, keep), keep, done)

    def _begun(self, keep: Checkpoint | None) -> Progress:
        """The model as it came, measured; nothing is trained yet."""
        if keep is not None:
            keep.clear()
        sha256, first = self.trainee.sha256(), self.probe.measure(0)
        self.best = self.steps.weights()
        self._tick(0, 0, 0.0, first)
        self.steps.prepare()
        return Progress(self.settings, sha256, (first,), 0, chosen_precision(self.steps, self.recipe.precision))

    def _resumed(self, keep: Checkpoint, found: Progress) -> Progress:
        keep.sweep(found)
        self.steps.restore(keep.state(found))
        self.best = keep.best(found)
        self._tick(len(found.history) - 1, 0, 0.0, found.history[-1])
        return found

    def _next(self, now: Progress, keep: Checkpoint | None) -> Progress:
        """One more epoch: trained, measured, judged, kept."""
        try:
            epoch = self._trained(len(now.history))
        except TrainingStopped as error:
            if not now.best:
                raise
            return replace(now, stopped=str(error))
        history = (*now.history, epoch)
        now = replace(now, history=history, best=best_of(history, self.probe), stopped=overfitted(history))
        if not now.stopped:
            check_not_constant(history, self.probe, steps=self._taken(history), final=False)
        if now.best == epoch.number:
            self.best = self.steps.weights()
        if keep is not None:
            keep.write(now, self.steps.state(), self.best)
        self._tick(epoch.number, self.steps.batches, epoch.loss or 0.0, epoch)
        return now

    def _trained(self, number: int) -> Epoch:
        pace = self.steps.epoch(number, lambda step, loss: self._tick(number, step, loss))
        eps = self.recipe.radius(number * self.steps.batches - 1, self.recipe.epochs * self.steps.batches)
        with self.steps.shown():
            trained_on = self.seen.withstood(self.seen.many)
            return self.probe.measure(number, loss=pace.loss, eps=eps, seconds=pace.seconds, cost=pace.cost, trained_on=trained_on)

    def _taken(self, history: Sequence[Epoch]) -> int:
        """Steps of training so far."""
        return (len(history) - 1) * self.steps.batches

    def _finished(self, now: Progress, keep: Checkpoint | None) -> Progress:
        """The model with the weights that are kept: the best, or the last where they are wanted and nothing went wrong."""
        last = self.recipe.keep == "last" and not now.stopped
        kept = self.steps.weights() if last else self.best
        self.trainee.model.load_state_dict(kept)
        if not last and not now.best and not now.stopped:
            chosen_by = now.history[-1].chosen_by
            by = f"was better by what it is chosen by ({chosen_by})" if chosen_by else "withstood PGD better"
            now = replace(now, stopped=f"no epoch {by} than the model as it came, which is kept; train longer, or lower lr")
        now = replace(now, best=len(now.history) - 1 if last else now.best, result=self.trainee.sha256())
        if keep is not None:
            keep.finish(now, kept)
        return now

    def _told(self, now: Progress, keep: Checkpoint | None, resumed: int) -> Hardened:
        costs = [e.cost for e in now.history if e.cost is not None]
        weights, cost = None if keep is None else keep.weights, fmean(costs) if costs else 1.0
        note = remembered(now.history, now.best, best_of(now.history, self.probe), int(self.probe.concerned.sum()))
        return Hardened(weights, now.history, now.best, cost, now.stopped, resumed, (note,) if note else ())

    def _tick(self, epoch: int, step: int, loss: float, measured: Epoch | None = None) -> None:
        self.tell(Tick(epoch, self.recipe.epochs, step, self.steps.batches, loss, measured))


def chosen_precision(steps: Steps, wanted: str) -> str:
    """ "float32" or "bfloat16": for "auto", bfloat16 where a step of it takes at most 0.9 of the time."""
    if wanted != "auto":
        return wanted
    full = steps.seconds_of_a_step()
    steps.low = True
    return "bfloat16" if steps.seconds_of_a_step() <= 0.9 * full else "float32"
