"""How well a model that may decline to answer stands: errors that get through, and what was declined to keep them out. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from vauban.errors import BadData
from vauban.measure.rate import Rate

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says to some rows as they are, and attacked. An input is rejected where its strangeness exceeds a threshold.

    Attributes:
        clean: float (n,), how strange each clean input looks.
        clean_wrong: bool (n,), whether the class answered to it is wrong.
        attacked: float (n,), how strange the same inputs look after an attack.
        attacked_wrong: bool (n,), whether the class then answered is one the attacker wants.

    Raises:
        BadData: lengths that differ, or strangeness that is no number.
    """

    clean: Floats
    clean_wrong: Bools
    attacked: Floats
    attacked_wrong: Bools

    def __post_init__(self) -> None:
        lengths = {len(self.clean), len(self.clean_wrong), len(self.attacked), len(self.attacked_wrong)}
        if len(lengths) > 1:
            raise BadData(f"columns of {', '.join(map(str, sorted(lengths)))} rows; give as many clean answers as attacked ones")
        if bool(np.isnan(self.clean).any() or np.isnan(self.attacked).any()):
            raise BadData("strangeness that is no number; mend the detector first")

    def rejected(self, threshold: float) -> Rate:
        """Clean inputs that the model gets right and that are rejected, of all it gets right."""
        right = ~self.clean_wrong
        return Rate(int((right & (self.clean > threshold)).sum()), int(right.sum()))

    def robust(self, threshold: float) -> Rate:
        """Robust accuracy: rows whose clean answer is right and given, and whose attacked input is answered rightly or rejected.

        It is what an audit calls robust. A clean input that is rejected counts against the model (Tramèr 2022, arXiv:2107.11630, definition 3).
        """
        held = ~self.clean_wrong & (self.clean <= threshold) & ~self._through(threshold)
        return Rate(int(held.sum()), len(held))

    def undetected(self, threshold: float) -> Rate:
        """Attacked inputs that are answered wrongly and not rejected, of all."""
        return Rate(int(self._through(threshold).sum()), len(self.attacked))

    def detected(self, threshold: float) -> Rate:
        """Attacked inputs that are rejected, of those that are answered wrongly."""
        return Rate(int((self.attacked_wrong & (self.attacked > threshold)).sum()), int(self.attacked_wrong.sum()))

    def rerr(self, threshold: float) -> Rate:
        """Robust error among what is accepted (Stutz et al. 2020, arXiv:1910.06259, equation 6).

        Rows with an error that is accepted, clean or attacked, of the rows of which anything is accepted, clean or attacked.
        """
        errs = (self.clean_wrong & (self.clean <= threshold)) | self._through(threshold)
        accepted = (self.clean <= threshold) | (self.attacked <= threshold)
        return Rate(int(errs.sum()), int(accepted.sum()))

    def threshold(self, rejected: float) -> float:
        """The threshold that a share of the right clean answers of these rows exceeds at most: for rows that no defence was calibrated on."""
        return threshold_at(self.clean[~self.clean_wrong], rejected)

    def auroc(self, level: float = 0.95) -> Auroc:
        """How well strangeness tells the attacked inputs that are answered wrongly from the clean ones that are answered rightly."""
        return auroc(self.clean[~self.clean_wrong], self.attacked[self.attacked_wrong], level)

    def _through(self, threshold: float) -> Bools:
        return self.attacked_wrong & (self.attacked <= threshold)


def threshold_at(clean: Floats, rejected: float) -> float:
    """The order statistic ceil((n + 1)(1 - rejected)) of n clean scores: a new one exceeds it with probability at most `rejected`.

    inf where there are too few to say: nothing is rejected then.

    >>> threshold_at(np.arange(1.0, 100.0), 0.05), threshold_at(np.arange(10.0), 0.05)
    (95.0, inf)
    """
    if not 0 < rejected < 1:
        raise BadData(f"rejected = {rejected:g} must lie between 0 and 1")
    rank = math.ceil((len(clean) + 1) * (1 - rejected) - 1e-9)
    return float(np.sort(clean)[rank - 1]) if rank <= len(clean) else math.inf


@dataclass(frozen=True, slots=True)
class Auroc:
    """The chance that an attacked input looks stranger than a clean one, ties counting half; with an interval."""

    value: float
    interval: tuple[float, float]
    clean: int
    attacked: int

    def text(self) -> str:
        """Such as "0.605 [0.541, 0.665]"."""
        return f"{self.value:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


def auroc(clean: Floats, attacked: Floats, level: float = 0.95) -> Auroc:
    """The area under the receiver operating characteristic. A mean over all thresholds, most of which nobody would use: quote it second.

    The interval is Newcombe's method 5 (2006, Statistics in Medicine 25:559), which stays sensible at 0 and 1. NaN where a side has no rows.

    >>> auroc(np.array([0.0, 1.0]), np.array([1.0, 2.0])).value
    0.875
    """
    m, n = len(clean), len(attacked)
    if not m or not n:
        return Auroc(math.nan, (0.0, 1.0), m, n)
    ordered = np.sort(clean)
    below, upto = np.searchsorted(ordered, attacked, "left"), np.searchsorted(ordered, attacked, "right")
    value = float((below + upto).sum() / (2 * m * n))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return Auroc(value, (_limit(value, 0.0, m, n, z), _limit(value, 1.0, m, n, z)), m, n)


def _limit(value: float, end: float, m: int, n: int, z: float) -> float:
    """Where |value - t| = z sqrt(V(t)) between the value and an end of [0, 1], by bisection."""
    near, far = value, end
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        if abs(value - middle) <= z * math.sqrt(_variance(middle, m, n)):
            near = middle
        else:
            far = middle
    return near


def _variance(t: float, m: int, n: int) -> float:
    """Of an area t (Hanley and McNeil 1982), with the mean of both numbers of rows in place of each."""
    rows = (m + n) / 2 - 1
    return t * (1 - t) / (m * n) * (1 + rows * (1 - t) / (2 - t) + rows * t / (1 + t))


@dataclass(frozen=True, eq=False)
class Roc:
    """Attacked inputs that are rejected against clean ones that are, from the strictest threshold to none; both begin at 0 and end at 1."""

    clean: Floats
    attacked: Floats
    threshold: Floats


def roc(clean: Floats, attacked: Floats) -> Roc:
    """The receiver operating characteristic at every threshold that changes anything: rejected shares of both, and the threshold."""
    at = np.concatenate([[np.inf], np.unique(np.concatenate([clean, attacked]))[::-1], [-np.inf]])
    above = [1 - np.searchsorted(np.sort(v), at, "right") / max(len(v), 1) for v in (clean, attacked)]
    return Roc(above[0], above[1], at)


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The share of errors among the inputs that are answered, when the least strange ones are: float (n,), at 1/n, 2/n, ... 1 of the rows.

    Attributes:
        coverage: share of the rows answered.
        risk: share of errors among them; in the mean over orders, where strangeness ties.
    """

    coverage: Floats
    risk: Floats

    @property
    def aurc(self) -> float:
        """The mean risk over all coverages (Geifman and El-Yaniv 2017, arXiv:1705.08500); NaN without rows."""
        return float(self.risk.mean()) if len(self.risk) else math.nan

    @property
    def excess(self) -> float:
        """`aurc` over that of the best order, which answers all right ones first (Geifman et al. 2019, arXiv:1805.08206)."""
        n = len(self.risk)
        if not n:
            return math.nan
        errors = round(float(self.risk[-1]) * n)
        best = np.maximum(np.arange(1, n + 1) - (n - errors), 0) / np.arange(1, n + 1)
        return self.aurc - float(best.mean())

    def at(self, coverage: float) -> float:
        """The risk when at least this share of the rows is answered."""
        if not len(self.risk):
            return math.nan
        return float(self.risk[min(math.ceil(coverage * len(self.risk) - 1e-9), len(self.risk)) - 1]) if coverage > 0 else 0.0


def risk_coverage(wrong: Bools, strange: Floats) -> RiskCoverage:
    """Risk against coverage of rows with these errors and this strangeness.

    >>> curve = risk_coverage(np.array([False, True, False]), np.array([0.1, 0.9, 0.5]))
    >>> curve.risk.round(3).tolist(), round(curve.aurc, 3), curve.excess
    ([0.0, 0.0, 0.333], 0.111, 0.0)
    """
    if len(wrong) != len(strange):
        raise BadData(f"{len(wrong)} answers and {len(strange)} scores; give one score for each")
    _, group, count = np.unique(strange, return_inverse=True, return_counts=True)
    mean = np.bincount(group, weights=wrong.astype(np.float64), minlength=len(count)) / np.maximum(count, 1)
    each = np.sort(group)
    rows = np.arange(1, len(wrong) + 1)
    return RiskCoverage(rows / max(len(rows), 1), np.cumsum(mean[each]) / rows)
