"""A small CNN trained on scikit-learn's handwritten digits, its rows, and the other libraries around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vauban.attacks import Attack
from vauban.doors import Oracle
from vauban.doors.oracle.stage import Settle
from vauban.target import Torch
from vauban.threat import Ball, Threat

WHY = "agreement with other libraries is tested in the bench environment: benchmarks/environment.sh builds .venv-bench"


@dataclass(frozen=True, eq=False)
class Digits:
    """The trained model and the first test rows that it classifies correctly: float32 (n, 1, 8, 8) in [0, 1] and int64 (n,)."""

    model: nn.Module
    x: Tensor
    y: Tensor

    def first(self, n: int) -> Digits:
        return Digits(self.model, self.x[:n], self.y[:n])

    def median(self, found: Tensor, p: float) -> float:
        """Median distance of the inputs that fool the model and stay in the box; the others count as infinitely far."""
        distance = torch.linalg.vector_norm((found.double() - self.x.double()).flatten(1), ord=p, dim=1)
        inside = (found.flatten(1).amin(1) >= -1e-6) & (found.flatten(1).amax(1) <= 1 + 1e-6)
        known = torch.where(self.fooled(found) & inside, distance, math.inf).sort().values
        return float(known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2

    def robust(self, found: Tensor, eps: float) -> float:
        """Share of rows still right, of inputs that must lie within an L-infinity radius."""
        inside = (found - self.x).flatten(1).abs().amax(1) <= eps + 1e-5
        return 1 - float((self.fooled(found) & inside).double().mean())

    def fooled(self, found: Tensor) -> Tensor:
        with torch.no_grad():
            return self.model(found).argmax(1) != self.y

    def vauban(self, attack: Attack, p: float = math.inf, eps: float = math.inf, settle: Settle = "nearest") -> Tensor:
        """What an attack of ours finds."""
        oracle = Oracle(Torch(self.model), self.x, self.y, Threat("peers", Ball(eps, p)), settle=settle)
        attack(oracle)
        return oracle.outcome.best

    def foolbox(self, make: Callable[[Any], Any], eps: float | None = None) -> Tensor:
        """What an attack of Foolbox finds: `make(foolbox.attacks)` gives it."""
        import foolbox as fb

        model = fb.PyTorchModel(self.model, bounds=(0, 1), device="cpu")
        return make(fb.attacks)(model, self.x, self.y, epsilons=eps)[1]

    def art(self, make: Callable[[Any, Any], Any]) -> Tensor:
        """What an attack of ART finds: `make(art.attacks.evasion, its classifier)` gives it."""
        import art.attacks.evasion as evasion
        from art.estimators.classification import PyTorchClassifier

        wrapped = PyTorchClassifier(self.model, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0.0, 1.0), device_type="cpu")
        return torch.from_numpy(make(evasion, wrapped).generate(self.x.numpy(), self.y.numpy()))


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Seeded, some ten seconds on one thread."""
    for library in ("foolbox", "art.attacks.evasion"):
        pytest.importorskip(library, reason=WHY)
    datasets = pytest.importorskip("sklearn.datasets", reason=WHY)
    torch.set_num_threads(1)
    pictures, labels = datasets.load_digits(return_X_y=True)
    x = torch.from_numpy(pictures).float().view(-1, 1, 8, 8) / 16
    y = torch.from_numpy(labels).long()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    model = _trained(x[order[:1200]], y[order[:1200]])
    x, y = x[order[1200:]], y[order[1200:]]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    assert float(right.double().mean()) > 0.95, "the fixture did not train"
    return Digits(model, x[right][:300], y[right][:300])


def _trained(x: Tensor, y: Tensor, epochs: int = 40) -> nn.Module:
    """A plainly trained CNN with 27,000 parameters."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    return model.eval()
