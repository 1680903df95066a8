"""The contract that every registered way of training faces: it hardens, repeats, resumes, and does not feel the order of its batch."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import EPS, net, plainly_trained, recipe, stripes
from torch import Tensor, nn

from vauban.attacks import find, pgd
from vauban.defences.training import METHODS, Hardened, Method, Recipe, Tick, harden
from vauban.defences.training.lesson import Lesson
from vauban.defences.training.rows import Part
from vauban.defences.training.trainee import Trainee
from vauban.doors import Oracle
from vauban.errors import BadPlan
from vauban.target import Torch
from vauban.threat import Ball, Goal, Patch, Threat

SMALL: dict[str, dict[str, Any]] = {
    "free": {"replays": 3},
    "multi-norm": {"l1": 0.3},
    "hat": {"helper_epochs": 2, "steps": 3, "step": 0.6},
    "trades": {"steps": 3, "step": 0.6},
    "ensemble-adversarial": {"member_epochs": 2},
}
"""What a method needs on a problem of 16 features and 160 rows."""
LINF = Threat("t", Ball(EPS))
OF_TARGETS_OF_THEIR_OWN = {"null-class", "adp", "dverge", "trs", "separately"}
"""They train what is no plain classifier: a model with a column for rejection, an ensemble. Their own tests face them with one."""
BY_NOISE = {"gaussian", "consistency", "smooth-adv"}
"""They add noise to every row, whatever the goal, and promise something of the smoothed model."""
ELSEWHERE = {"standard", "gaussian", "consistency", "ccat"}
"""What they promise is not that the model's own answers withstand PGD."""
NAMES = sorted(METHODS.keys() - OF_TARGETS_OF_THEIR_OWN)
every = pytest.mark.parametrize("name", NAMES)


def small(name: str) -> Method:
    return METHODS[name].bind(**SMALL.get(name, {}))


def train(name: str, how: Recipe, threat: Threat = LINF, model: Any = None, **more: Any) -> tuple[Hardened, nn.Module]:
    model = begun(0.2) if model is None else model
    data = more.pop("data", None) or stripes(96)
    return harden(model, data, threat, pgd(steps=2, step=0.7), how, method=small(name), **more), model


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in model.state_dict().items()}


@cache
def _begun(dropout: float) -> nn.Module:
    return plainly_trained(dropout=dropout)


def begun(dropout: float = 0.0) -> nn.Module:
    """A plainly trained network, the same each time."""
    return copy.deepcopy(_begun(dropout))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def robust(model: nn.Module, threat: Threat = LINF) -> float:
    x, y = stripes()
    o = Oracle(Torch(model.eval()), x, y, threat)
    pgd(o)
    return float(o.outcome.standing.float().mean())


@cache
def plain() -> float:
    return robust(train("standard", recipe(epochs=9, keep="last"), model=begun(), data=stripes())[1])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_it_hardens_more_than_plain_training(name: str) -> None:
    epochs = 3 if METHODS[name].facts.replays else 9
    result, model = train(name, recipe(epochs=epochs, keep="last"), model=begun(), data=stripes())
    assert robust(model) > plain() + 0.2, (result.history, plain())
    assert result.history[-1].loss is not None
    assert torch.isfinite(torch.tensor([e.loss for e in result.history[1:]])).all()


@every
def test_a_training_repeats_also_interrupted_and_another_seed_is_another_training(name: str, tmp_path: Path) -> None:
    how = recipe(epochs=2, keep="last", ema=0.9)

    def stop(tick: Tick) -> None:
        if tick.measured is None and (tick.epoch, tick.step) == (2, 1):
            raise KeyboardInterrupt

    straight, model = train(name, how)
    with pytest.raises(KeyboardInterrupt):
        train(name, how, checkpoint=tmp_path, progress=stop)
    resumed, again = train(name, how, checkpoint=tmp_path)
    assert resumed.resumed == 1
    assert [(e.clean, e.pgd, e.loss) for e in resumed.history] == [(e.clean, e.pgd, e.loss) for e in straight.history]
    assert same(state(model), state(again))
    assert not same(state(model), state(train(name, recipe(epochs=1, keep="last", ema=0.9, seed=4))[1]))


@pytest.mark.parametrize("name", ["free", "hat"])
def test_kill_9_changes_nothing(name: str, tmp_path: Path) -> None:
    here = Path(__file__)
    child = (
        "import os, signal, sys, importlib.util\n"
        f"sys.path.insert(0, {str(here.parents[1] / 'support')!r})\n"
        f"spec = importlib.util.spec_from_file_location('methods', {str(here)!r})\n"
        "m = importlib.util.module_from_spec(spec); sys.modules['methods'] = m; spec.loader.exec_module(m)\n"
        "def tell(tick):\n"
        "    if tick.epoch == 2 and tick.step == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"m.train({name!r}, m.recipe(epochs=3, keep='last'), checkpoint={str(tmp_path)!r}, progress=tell)\n"
    )
    died = subprocess.run([sys.executable, "-c", child], check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed, model = train(name, recipe(epochs=3, keep="last"), checkpoint=tmp_path)
    assert resumed.resumed == 1
    assert same(state(model), state(train(name, recipe(epochs=3, keep="last"))[1]))


def lesson(
    name: str, order: Tensor | None = None, threat: Threat = LINF, memory: dict[str, Tensor] | None = None, model: nn.Module | None = None
) -> tuple[Lesson, Method]:
    """A lesson of 24 rows, in some order, with the memory that the method prepares; flat and of two classes where a model is given."""
    method, (x, y) = small(name), stripes(24)
    x, y = (x, y) if model is None else (x.flatten(1), y % 2)
    order = torch.arange(24) if order is None else order
    batch = Part(x[order], y[order], order + 100)
    trainee = Trainee.of(Torch(begun() if model is None else model, outputs="logits"))
    made = Lesson(trainee, batch, threat, pgd(steps=2, step=0.7), recipe(batch=24), 1, 1.0, 0.5, batch, {} if memory is None else memory)
    if memory is None:
        torch.manual_seed(0)
        method.prepare(made)
    return made, method


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ccat"])  # whose first half is clean
def test_the_order_of_a_batch_changes_nothing(name: str) -> None:
    ordered, method = lesson(name)
    first = method(ordered)
    shuffled, _ = lesson(name, torch.randperm(24, generator=torch.Generator().manual_seed(1)), memory=lesson(name)[0].memory)
    assert torch.allclose(first, method(shuffled), rtol=1e-4, atol=1e-6)


@every
def test_a_loss_taken_a_second_time_is_taken_at_the_same_inputs(name: str) -> None:
    made, method = lesson(name)
    seen: list[list[Tensor]] = [[], []]
    for turn in range(2):
        made.again()
        hook = made.trainee.model.register_forward_pre_hook(
            lambda m, given, turn=turn: seen[turn].append(given[0].detach().clone()) if m.training else None
        )
        method(made)
        hook.remove()
    assert len(seen[0]) == len(seen[1]) > 0
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


@every
def test_what_it_remembers_are_tensors_and_never_changed_in_place(name: str) -> None:
    made, method = lesson(name)
    before = dict(made.memory)
    copies = {key: t.clone() for key, t in before.items()}
    for _ in range(2):
        made.again()
        method(made).backward()
    assert all(isinstance(t, Tensor) and not t.requires_grad for t in made.memory.values())
    assert same(before, copies)


@every
def test_two_classes_and_flat_vectors_work(name: str) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    made, method = lesson(name, model=model)
    loss = method(made)
    loss.backward()
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


@every
def test_a_directional_goal_leaves_the_rows_it_does_not_concern_clean(name: str) -> None:
    made, method = lesson(name, threat=Threat("t", Ball(EPS), goal=Goal.directional(0, 2)))
    seen: list[Tensor] = []
    hook = made.trainee.model.register_forward_pre_hook(lambda m, given: seen.append(given[0].detach().clone()) if m.training else None)
    assert torch.isfinite(method(made))
    hook.remove()
    if METHODS[name].facts.certifies or name in BY_NOISE:
        return  # they ask about boxes, or about noise
    moved = torch.stack([(x != made.x).flatten(1).any(1) for x in seen if len(x) == len(made.x)]).any(0)
    assert not moved[made.y != 0].any()


@every
def test_a_budget_of_one_step_and_a_ramp_work(name: str) -> None:
    result, _ = train(name, recipe(epochs=1, batch=96, ramp=1.0))
    assert result.history[-1].number == 1


@every
def test_weights_moved_uphill_penalties_and_low_precision_go_with_it(name: str) -> None:
    result, _ = train(name, recipe(epochs=1, awp=0.01, input_gradient=0.1, precision="bfloat16"))
    assert result.history[-1].loss is not None
    assert torch.isfinite(torch.tensor(result.history[-1].loss))


@every
def test_a_wrong_setting_is_one_sentence_that_names_it(name: str) -> None:
    with pytest.raises(BadPlan, match=rf"'{name}' has no setting 'stepz'"):
        METHODS[name].bind(stepz=3)
    for setting in METHODS[name].parameters:
        with pytest.raises(BadPlan, match=rf"'{name}': {setting} = "):
            METHODS[name].bind(**{setting: object()})


@pytest.mark.parametrize("name", [name for name in NAMES if METHODS[name].facts.on])
def test_a_perturbation_it_does_not_know_is_refused_before_anything_is_trained(name: str) -> None:
    model = net()
    before = state(model)
    with pytest.raises(BadPlan, match=rf"'{name}' works on .*allows patch"):
        harden(model, stripes(), Threat("t", Patch(1)), find("patch-pgd").bind(steps=1, restarts=1), recipe(), method=small(name))
    assert same(before, state(model))
