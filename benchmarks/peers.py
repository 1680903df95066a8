"""The other libraries, imported when they are first needed. Each wraps the model once, untimed, and then attacks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.comparison import Ready, Strike
from benchmarks.world import CLASSES, World

UNUSED = ("visdom", "torchvision", "torchvision.models")


@cache
def _adv_lib() -> ModuleType:
    """adv-lib, which imports a plotting library and torchvision for parts that are not used here: empty modules stand in for them."""
    stand_ins = {name: ModuleType(name) for name in UNUSED if name not in sys.modules}
    sys.modules.update(stand_ins)
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from adv_lib import attacks
    for name in stand_ins:
        del sys.modules[name]
    return attacks


def adv_lib(call: Callable[[ModuleType, World], Tensor]) -> Ready:
    """An attack of adv-lib: `call(its attacks, world)` gives adversarial inputs."""

    def ready(w: World) -> Strike:
        attacks = _adv_lib()
        return lambda: call(attacks, w)

    return ready


def foolbox(make: Callable[[Any], Any], eps: Callable[[World], float] | None = None) -> Ready:
    """An attack of Foolbox: `make(foolbox.attacks)` gives it; without a radius it looks for the smallest change."""

    def ready(w: World) -> Strike:
        import foolbox as fb

        model, attack = fb.PyTorchModel(w.model, bounds=(0, 1), device="cpu"), make(fb.attacks)
        return lambda: attack(model, w.x, w.y, epsilons=None if eps is None else eps(w))[1]

    return ready


def art(make: Callable[[Any, Any, World], Any], *, probabilities: bool = False) -> Ready:
    """An attack of ART: `make(art.attacks.evasion, its classifier, world)` gives it; some want `probabilities` for scores and labels."""

    def ready(w: World) -> Strike:
        import art.attacks.evasion as evasion
        from art.estimators.classification import PyTorchClassifier

        shape = tuple(w.x.shape[1:])
        model = nn.Sequential(w.model, nn.Softmax(1)) if probabilities else w.model
        wrapped = PyTorchClassifier(model, nn.CrossEntropyLoss(), shape, CLASSES, clip_values=(0.0, 1.0), device_type="cpu")
        attack, x, y = make(evasion, wrapped, w), w.x.numpy(), w.y.numpy()
        y = np.eye(CLASSES, dtype=np.float32)[y] if probabilities else y
        return lambda: torch.from_numpy(attack.generate(x, y))

    return ready


def torchattacks(make: Callable[[Any, World], Any]) -> Ready:
    """An attack of torchattacks: `make(torchattacks, world)` gives it."""

    def ready(w: World) -> Strike:
        import torchattacks as ta

        attack = make(ta, w)
        return lambda: attack(w.x, w.y)

    return ready
