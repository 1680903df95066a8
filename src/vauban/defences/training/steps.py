"""One epoch of adversarial training: attack a batch, take a step on what was found; and the state that the next epoch needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vauban.attacks import Attack
from vauban.defences.training.average import Average
from vauban.defences.training.gates import check_finite
from vauban.defences.training.inner import mixed, shrunk, worst
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee, drawing
from vauban.noise import RowNoise
from vauban.threat import Threat

State = dict[str, Tensor]


@dataclass(frozen=True)
class Pace:
    """What an epoch took: mean loss, seconds in all, and over those of the same steps without the attack."""

    loss: float
    seconds: float
    cost: float


class Steps:
    """The part of training that changes the model.

    Args:
        trainee: the model, in place.
        rows: what is trained on.
        low: whether to train in bfloat16.
    """

    def __init__(self, trainee: Trainee, rows: Part, threat: Threat, attack: Attack, recipe: Recipe, *, low: bool = False) -> None:
        self.trainee, self.rows, self.threat, self.attack, self.recipe, self.low = trainee, rows, threat, attack, recipe, low
        self.model = trainee.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = _optimiser(self.parameters, recipe)
        self.average = Average(self.model, recipe.ema) if recipe.ema else None

    @property
    def batches(self) -> int:
        """Steps in an epoch. A last batch of a single row is left out, because batch normalisation cannot learn from one."""
        whole, rest = divmod(len(self.rows), self.recipe.batch)
        return whole + (rest > 1 or not whole)

    def epoch(self, number: int, tell: Callable[[int, float], None]) -> Pace:
        """Train for one epoch (counted from 1); tells the number of steps done and the loss after each."""
        order = RowNoise(self.rows.ids, self.recipe.seed, "order", number).bits(1)[:, 0].argsort(stable=True)
        losses: list[float] = []
        began, plain = time.perf_counter(), 0.0
        with drawing(mixed(self.recipe.seed, "draws", number), self.trainee.device):
            for i, index in enumerate(order.split(self.recipe.batch)[: self.batches]):
                step = (number - 1) * self.batches + i
                batch, seen = self._attacked(self.rows.take(index), number, step)
                before = time.perf_counter()
                losses.append(self._learn(seen, batch.y, number, i, step))
                plain += time.perf_counter() - before
                tell(i + 1, losses[-1])
        seconds = time.perf_counter() - began
        return Pace(sum(losses) / len(losses), seconds, seconds / plain)

    def _attacked(self, batch: Part, number: int, step: int) -> tuple[Part, Tensor]:
        """A batch on the model's device, and what it is trained on: its first rows clean, the others attacked."""
        device = self.trainee.device
        batch = Part(batch.x.to(device), batch.y.to(device), batch.ids.to(device))
        clean = round(self.recipe.clean_share * len(batch))
        x, y, ids = batch.x[clean:], batch.y[clean:], batch.ids[clean:]
        if not len(x):
            return batch, batch.x
        threat = shrunk(self.threat, self.recipe.radius(step, self.recipe.epochs * self.batches))
        with self._precision():
            found = worst(self.trainee, x, y, threat, self.attack, ids=ids, seed=mixed(self.recipe.seed, "attack", number))
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # or the time of the attack would be counted as the time of training
        return batch, torch.cat([batch.x[:clean], found])

    def _learn(self, x: Tensor, y: Tensor, number: int, i: int, step: int) -> float:
        """One step of the optimiser; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(step, self.recipe.epochs * self.batches)
        loss, norm = self._gradients(x, y)
        check_finite(loss + norm, number, i)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(step)
        return loss

    def _gradients(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            scores = self.trainee.learn(x)
        loss = nn.functional.cross_entropy(scores, y, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip or math.inf)
        return float(loss.detach()), float(norm)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.trainee.device.type, dtype=torch.bfloat16, enabled=self.low)

    def seconds_of_a_step(self) -> float:
        """How long one step takes in this precision, the better of two after one to warm up; the model is left as it was."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        batch = self.rows.take(torch.arange(min(self.recipe.batch, len(self.rows))))
        took: list[float] = []
        with drawing(0, self.trainee.device), self.trainee.laid_out(channels_last=self.low):
            for _ in range(3):
                began = time.perf_counter()
                on_device, seen = self._attacked(batch, 0, 0)
                self._gradients(seen, on_device.y)
                took.append(time.perf_counter() - began)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, b in self.model.named_buffers():
                b.copy_(buffers[name])
        return min(took[1:])

    # ---- what a checkpoint keeps ----------------------------------------------------------------------------------------------------

    @contextmanager
    def shown(self) -> Generator[None]:
        """The model has the weights that are measured and kept: the running mean, where there is one."""
        if self.average is None:
            yield
            return
        with self.average.shown():
            yield

    def weights(self) -> State:
        """A copy, on the CPU, of the model's state as it is shown."""
        with self.shown():
            return {name: t.detach().cpu().clone() for name, t in self.model.state_dict().items()}

    def state(self) -> State:
        """All that the next epoch depends on."""
        state = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        state |= {f"average.{name}": t for name, t in (self.average.mean if self.average else {}).items()}
        for i, parameter in enumerate(self.parameters):
            state |= {f"optimiser.{i}.{key}": torch.as_tensor(t) for key, t in self.optimiser.state[parameter].items() if t is not None}
        return state

    def restore(self, state: State) -> None:
        """Put such a state back."""
        self.model.load_state_dict(_under(state, "model"))
        for name, t in _under(state, "average").items():
            if self.average is not None:
                self.average.mean[name].copy_(t)
        entries: dict[int, dict[str, Tensor]] = {}
        for key, t in _under(state, "optimiser").items():
            place, _, name = key.partition(".")
            parameter = self.parameters[int(place)]
            entries.setdefault(int(place), {})[name] = torch.empty_like(parameter).copy_(t) if t.shape == parameter.shape else t
        self.optimiser.load_state_dict({"state": entries, "param_groups": self.optimiser.state_dict()["param_groups"]})


def _under(state: State, prefix: str) -> State:
    return {name.removeprefix(f"{prefix}."): t for name, t in state.items() if name.startswith(f"{prefix}.")}


def _optimiser(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    made = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return made(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
