"""How badly an autoencoder of clean inputs reproduces an input, or how much the answer changes when it does."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vauban.defences.detection.detector import Detector, Seen
from vauban.defences.detection.owed import SELECTIVE
from vauban.defences.detection.rejecting import Rejected, calibrated, halves
from vauban.defences.input.denoising_autoencoder import Denoised
from vauban.defences.registry import Clean, defence
from vauban.settings import Count, Natural, Positive
from vauban.target import Target

Measure = Literal["error", "divergence"]


@defence(
    "detection",
    claims="inputs off the manifold of clean ones, as an autoencoder knows it; a share `rejected` of clean inputs is rejected",
    adaptive="gradients through the autoencoder, and through the model on what it gives",
    paper="Meng and Chen 2017, arXiv:1705.09064 (MagNet's detectors), sections 4.2.1 and 4.2.2",
    owes=SELECTIVE,
    broken="attacks through the autoencoder pass it at 1.8 times the distance or less (Carlini and Wagner 2017, arXiv:1711.08478)",
)
def reconstruction(
    target: Target,
    clean: Clean,
    *,
    measure: Measure = "error",
    power: Positive = 2.0,
    temperature: Positive = 10.0,
    sigma: Positive = 0.1,
    epochs: Count = 30,
    width: Count = 24,
    seed: int = 0,
    rejected: Rejected = 0.05,
) -> Target:
    """Rejects inputs that a small autoencoder, trained on half of the clean rows with noise of `sigma`, does not give back.

    `measure`: "error", the mean of |x - ae(x)| to the `power`; or "divergence", of the model's probabilities (Jensen-Shannon, softmax at a
    `temperature`) for x and ae(x), which costs a second pass of the model.
    """
    fit, rest = halves(clean)
    autoencoder = Denoised.fitted(fit.x, sigma, epochs, width, seed)
    detector = Unlike(autoencoder, power) if measure == "error" else Diverging(autoencoder, temperature)
    return calibrated(target, detector, rest, rejected)


class _Rebuilding(Detector):
    """A detector that sees an input beside what an autoencoder makes of it."""

    def __init__(self, autoencoder: Denoised) -> None:
        self.autoencoder = autoencoder

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(value for _, value in sorted(self.autoencoder.net.state_dict().items()))


class Unlike(_Rebuilding):
    """The mean over features of |x - ae(x)|^power."""

    def __init__(self, autoencoder: Denoised, power: Natural) -> None:
        super().__init__(autoencoder)
        self.power = power

    def strangeness(self, seen: Seen) -> Tensor:
        return (seen.x - self.autoencoder(seen.x)).abs().pow(self.power).flatten(1).mean(1)


class Diverging(_Rebuilding):
    """The Jensen-Shannon divergence, in nats, of the probabilities of x and of ae(x), at a temperature."""

    passes = 2

    def __init__(self, autoencoder: Denoised, temperature: float) -> None:
        super().__init__(autoencoder)
        self.temperature = temperature

    def strangeness(self, seen: Seen) -> Tensor:
        draw = None if seen.draw is None else seen.draw.fork("rebuilt")
        again = seen.model.smooth(self.autoencoder(seen.x), draw)
        p, q = (seen.z / self.temperature).log_softmax(1), (again / self.temperature).log_softmax(1)
        middle = ((p.exp() + q.exp()) / 2).log()
        return ((p.exp() * (p - middle)).sum(1) + (q.exp() * (q - middle)).sum(1)) / 2
