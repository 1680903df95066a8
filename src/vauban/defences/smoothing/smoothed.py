"""A classifier that answers with the class most noisy copies of the input are given, and abstains where that is not clear."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from vauban.defences.smoothing.booth import Booth, classes_of
from vauban.defences.smoothing.noises import noise_of
from vauban.defences.smoothing.surrogate import MeanUnderNoise
from vauban.errors import BadPlan
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target
from vauban.target.around import Around
from vauban.target.surrogates import default_surrogate


class Smoothed(Around):
    """Randomised smoothing of any target (Cohen et al. 2019, arXiv:1902.02918): torch, scikit-learn, ONNX, a function; labels are enough.

    Scores are the shares of the votes, float64 (n, classes + 1); the last column means "no answer" (the target's own reject column, where it has
    one). Where the two classes with most votes cannot be told apart at level `alpha` (Cohen's PREDICT, section 3.2.1), that column is
    half a vote above all others.

    Args:
        target: what is smoothed. It should have been trained with noise of the same sigma, or be behind a denoiser.
        sigma: standard deviation of the noise, in input units: the one setting that matters. Larger certifies larger radii and blurs more.
        samples: noisy copies for one answer, all of them drawn afresh for each question from the noise of its row.
        norm: what certificates are about: 2, 1 or inf (by way of L2: a factor of the root of the number of features).
        noise: "gaussian", "uniform" or "laplace"; by default Gaussian, and uniform for L1.
        alpha: the chance with which an answer may be another one than that of infinitely many samples.
        draws: noisy copies that the attacker's gradient is averaged over.

    Raises:
        BadPlan: a setting that cannot be meant, or so few samples that every answer would be an abstention.

    >>> from vauban.target import Torch
    >>> line = torch.nn.Linear(2, 2)
    >>> _ = line.weight.data.copy_(torch.tensor([[5.0, 0.0], [-5.0, 0.0]])), line.bias.data.zero_()
    >>> smoothed = Smoothed(Torch(line, outputs="logits"), 0.25)
    >>> smoothed.scores(torch.tensor([[1.0, 0.0], [0.0, 0.0]])).argmax(1).tolist()  # on the boundary it abstains
    [0, 2]
    """

    kind: ClassVar[str] = "smoothed"

    def __init__(
        self,
        target: Target,
        sigma: float,
        samples: int = 100,
        *,
        norm: float = 2.0,
        noise: str = "",
        alpha: float = 0.001,
        draws: int = 16,
    ) -> None:
        super().__init__(target)
        self.noise, self.norm = noise_of(sigma, norm, noise), float(norm)
        if self.noise.norm == 1 and self.norm != 1:
            raise BadPlan(f"smoothing: {self.noise.name} noise certifies L1 radii; say norm = 1, or take Gaussian noise")
        if not 0 < alpha < 1:
            raise BadPlan(f"smoothing: alpha = {alpha:g} must be a probability between 0 and 1")
        if samples < 1 or decisive(samples, alpha) > samples:
            raise BadPlan(
                f"smoothing: with samples = {samples} every answer is an abstention at alpha = {alpha:g}, even if all votes agree; take "
                f"{next(n for n in range(1, 10_000) if decisive(n, alpha) <= n)} or more"
            )
        self.sigma, self.samples, self.alpha, self.draws = float(sigma), samples, alpha, draws
        self.outputs, self.randomised, self.passes = "votes", True, samples * target.passes
        self._booth: Booth | None = None
        self._widen(target.classes)
        inner = default_surrogate(target)
        self._stand_in = None if inner is None else MeanUnderNoise(inner, self.noise, draws, appends=target.reject is None)

    def _widen(self, classes: int | None) -> None:
        """Number of columns and the reject column, once the target's number of classes is known."""
        if classes is None:
            return
        own = self.target.reject is None
        self.classes, self.reject = classes + own, classes if own else self.target.reject
        self._booth = Booth(self.target, self.noise, classes)

    @property
    def surrogate(self) -> Surrogate | None:
        """The mean of the base's probabilities over noisy copies (SmoothAdv; Salman et al. 2019, arXiv:1906.04584); None without gradients."""
        return self._stand_in

    def smooth(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Votes have no gradient; `surrogate` has."""
        return Target.smooth(self, x, draw)

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        votes = self.votes(x, draw)
        two = votes.topk(2, dim=1).values.tolist()
        unclear = torch.tensor([most < decisive(most + second, self.alpha) for most, second in two], dtype=torch.bool)
        shares = votes.double() / self.samples
        shares[unclear, self.reject] = shares[unclear].amax(1) + 0.5 / self.samples
        return shares.to(self.device)

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return self.scores(x, draw).argmax(1)

    def votes(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        """Votes int64 (n, classes) on the CPU, of `samples` noisy copies of each row."""
        if self._booth is None:
            self._widen(classes_of(self.target, x))
        booth = self._booth
        if booth is None or not len(x):
            return torch.zeros(0, self.classes or 0, dtype=torch.int64)
        streams = booth.streams(RowNoise(torch.arange(len(x), device=x.device)) if draw is None else draw)
        with self.target.held():
            votes = booth.tally(x, streams, self.samples)
        if self.target.reject is not None:  # where nothing was answered, nothing was answered
            votes[:, self.target.reject] += votes[:, -1]
            return votes[:, :-1]
        return votes

    def prepare(self, x: Tensor) -> None:
        self._widen(classes_of(self.target, x))

    def sha256(self) -> str:
        """The target's, with the noise; empty where the target has none."""
        inner = self.target.sha256()
        told = f"{self.noise} {self.samples} {self.norm} {self.alpha} {self.draws} {inner}"
        return hashlib.sha256(told.encode()).hexdigest() if inner else ""


@lru_cache(maxsize=1 << 16)
def decisive(total: int, alpha: float) -> int:
    """The least votes for the first of two classes, of their `total`, with which a fair coin is refuted at level alpha (two-sided); total + 1
    where none do.

    >>> decisive(11, 0.001), decisive(10, 0.001)
    (11, 11)
    """
    from scipy.special import betainc

    low, high = (total + 1) // 2 - 1, total + 1
    while high - low > 1:
        middle = (low + high) // 2
        # at least `middle` heads of `total`
        low, high = (low, middle) if 2 * betainc(middle, total - middle + 1, 0.5) <= alpha else (middle, high)
    return high
