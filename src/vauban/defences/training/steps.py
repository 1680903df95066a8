"""One epoch of adversarial training: attack a batch, take a step on what was found; and the state that the next epoch needs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vauban.attacks import Attack
from vauban.defences.training.augment import augmented
from vauban.defences.training.average import Average
from vauban.defences.training.clock import Clock
from vauban.defences.training.gates import check_finite
from vauban.defences.training.inner import mixed, shrunk
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.method import Method
from vauban.defences.training.penalties import bounded, input_gradient, jacobian
from vauban.defences.training.recipe import Recipe
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee, drawing
from vauban.defences.training.weights import moved_uphill
from vauban.noise import RowNoise
from vauban.threat import Threat

State = dict[str, Tensor]
PLAIN = 10
"""Plain steps timed in an epoch, to say what training costs."""


@dataclass(frozen=True)
class Pace:
    """What an epoch took: mean loss, seconds in all, and over those of as many plain steps: clean inputs, cross-entropy, the same optimiser."""

    loss: float
    seconds: float
    cost: float


class Steps:
    """The part of training that changes the model.

    Args:
        trainee: the model, in place.
        rows: what is trained on.
        method: what loss is taken of a batch.
        low: whether to train in bfloat16.
    """

    def __init__(
        self, trainee: Trainee, rows: Part, threat: Threat, attack: Attack, recipe: Recipe, method: Method, *, low: bool = False
    ) -> None:
        self.trainee, self.rows, self.threat, self.attack, self.recipe, self.low = trainee, rows, threat, attack, recipe, low
        self.method, self.model = method, trainee.model
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = _optimiser(self.parameters, recipe)
        self.average = Average(self.model, recipe.ema) if recipe.ema else None
        self.memory: State = {}
        self._before = 0.0

    @property
    def batches(self) -> int:
        """Steps in an epoch. A last batch of a single row is left out, because batch normalisation cannot learn from one."""
        return self._distinct * self.method.replays

    @property
    def _distinct(self) -> int:
        whole, rest = divmod(len(self.rows), self.recipe.batch)
        return whole + (rest > 1 or not whole)

    def epoch(self, number: int, tell: Callable[[int, float], None]) -> Pace:
        """Train for one epoch (counted from 1); tells the number of steps done and the loss after each."""
        order = RowNoise(self.rows.ids, self.recipe.seed, "order", number).bits(1)[:, 0].argsort(stable=True)
        losses: list[float] = []
        clock = Clock(self._before, self._ticks)
        self._before = 0.0
        with drawing(mixed(self.recipe.seed, "draws", number), self.trainee.device):
            for i, index in enumerate(order.split(self.recipe.batch)[: self._distinct]):
                batch = self.rows.take(index)
                for replay in range(self.method.replays):
                    place = i * self.method.replays + replay
                    with clock.step():
                        lesson = self.lesson(batch, number, place, replay)
                        losses.append(self._learn(lesson, number, place, clock))
                    tell(place + 1, losses[-1])
                if i % max(self._distinct // PLAIN, 1) == 0:
                    clock.plain.append(self._plain_seconds(self.lesson(batch, number, i)))
        return Pace(sum(losses) / len(losses), clock.seconds, clock.cost)

    def prepare(self) -> None:
        """What the method does before the first step; its time counts with the first epoch."""
        began = time.perf_counter()
        with drawing(mixed(self.recipe.seed, "prepare"), self.trainee.device):
            self.method.prepare(self.lesson(self.rows.take(torch.arange(min(self.recipe.batch, len(self.rows)))), 1, 0))
        self._wait()
        self._before = time.perf_counter() - began

    def lesson(self, batch: Part, number: int, place: int, replay: int = 0) -> Lesson:
        """A batch as the method sees it, at one place of an epoch."""
        device, steps = self.trainee.device, self.recipe.epochs * self.batches
        step = (number - 1) * self.batches + place
        share = self.recipe.radius(step, steps)
        on_device = augmented(Part(batch.x.to(device), batch.y.to(device), batch.ids.to(device)), self.recipe, number)
        return Lesson(
            self.trainee, on_device, shrunk(self.threat, share), self.attack, self.recipe, number, share, step / steps,
            self.rows, self.memory, replay,
        )  # fmt: skip

    def _learn(self, lesson: Lesson, number: int, place: int, clock: Clock) -> float:
        """One step of the optimiser; returns the loss."""
        step = (number - 1) * self.batches + place
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(step, self.recipe.epochs * self.batches)
        loss, norm = self._gradients(lesson)
        check_finite(loss + norm, number, place)
        with clock.optimiser():
            self.optimiser.step()
        if self.recipe.spectral:
            bounded(self.model, self.recipe.spectral)
        if self.average is not None:
            self.average.update(step)
        return loss

    def _gradients(self, lesson: Lesson) -> tuple[float, float]:
        """The gradient of the method's loss in the parameters' `grad`; returns the loss and its norm."""
        if self.recipe.awp:
            with moved_uphill(self.model, self.recipe.awp, lambda: self._loss(lesson)):
                loss = self._descended(lesson)
        else:
            loss = self._descended(lesson)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip or math.inf)
        return loss, float(norm)

    def _descended(self, lesson: Lesson) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(lesson)
        loss.backward()
        return float(loss.detach())

    def _loss(self, lesson: Lesson) -> Tensor:
        lesson.again()
        with self._precision():
            loss = self.method(lesson)
            if self.recipe.input_gradient:
                loss = loss + self.recipe.input_gradient * input_gradient(lesson)
            if self.recipe.jacobian:
                loss = loss + self.recipe.jacobian * jacobian(lesson)
        return loss

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.trainee.device.type, dtype=torch.bfloat16, enabled=self.low)

    def _plain_seconds(self, lesson: Lesson) -> float:
        """How long a plain step on this batch takes without the optimiser, on a copy of the model: nothing of the training is changed by it."""
        twin = self.trainee.twin(deepcopy(self.model))
        with drawing(0, self.trainee.device):
            self._wait()
            began = self._ticks()
            with self._precision():
                loss = nn.functional.cross_entropy(twin.learn(lesson.x), lesson.y)
            loss.backward()
            self._wait()
            return self._ticks() - began

    @property
    def _ticks(self) -> Callable[[], float]:
        """What plain steps and others are compared by: time of the processor where that does the work, since others may use it too."""
        return time.process_time if self.trainee.device.type == "cpu" else time.perf_counter

    def seconds_of_a_step(self) -> float:
        """How long one step takes in this precision, the better of two after one to warm up; the model is left as it was."""
        buffers, memory = {name: b.clone() for name, b in self.model.named_buffers()}, dict(self.memory)
        batch = self.rows.take(torch.arange(min(self.recipe.batch, len(self.rows))))
        took: list[float] = []
        with drawing(0, self.trainee.device), self.trainee.laid_out(channels_last=self.low):
            for _ in range(3):
                began = time.perf_counter()
                self._gradients(self.lesson(batch, 1, 0))
                self._wait()
                took.append(time.perf_counter() - began)
        self.optimiser.zero_grad(set_to_none=True)
        self.memory.clear()
        self.memory.update(memory)
        with torch.no_grad():
            for name, b in self.model.named_buffers():
                b.copy_(buffers[name])
        return min(took[1:])

    def _wait(self) -> None:
        if self.trainee.device.type == "cuda":
            torch.cuda.synchronize(self.trainee.device)

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
        state |= {f"memory.{name}": t for name, t in self.memory.items()}
        for i, parameter in enumerate(self.parameters):
            state |= {f"optimiser.{i}.{key}": torch.as_tensor(t) for key, t in self.optimiser.state[parameter].items() if t is not None}
        return state

    def restore(self, state: State) -> None:
        """Put such a state back."""
        self.model.load_state_dict(_under(state, "model"))
        for name, t in _under(state, "average").items():
            if self.average is not None:
                self.average.mean[name].copy_(t)
        self.memory.clear()
        self.memory.update(_under(state, "memory"))
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
