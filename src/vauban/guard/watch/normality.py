"""Whether numbers look normally distributed: the W of Shapiro and Wilk (1965), with the coefficients of Royston (1995, AS R94)."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST, MOST = 12, 5000


def shapiro_wilk(values: npt.ArrayLike) -> float:
    """W, in (0, 1]: close to 1 for a normal distribution; 1 where all are the same.

    Args:
        values: 12 to 5,000 finite numbers.

    >>> round(shapiro_wilk([148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236, 240]), 3)
    0.787
    """
    x = np.sort(np.asarray(values, np.float64))
    if not LEAST <= x.size <= MOST:
        raise ValueError(f"{x.size} values; W is computed of {LEAST} to {MOST}")
    spread = np.square(x - x.mean()).sum()
    if spread <= 1e-300:
        return 1.0
    return float(min(1.0, (_coefficients(x.size) @ x) ** 2 / spread))


@lru_cache(maxsize=64)
def _coefficients(n: int) -> Floats:
    normal = NormalDist()
    m = np.array([normal.inv_cdf((i - 0.375) / (n + 0.25)) for i in range(1, n + 1)])
    u, total = 1 / np.sqrt(n), float(m @ m)
    last = m[-1] / np.sqrt(total) + np.polyval([-2.706056, 4.434685, -2.07119, -0.147981, 0.221157, 0], u)
    before = m[-2] / np.sqrt(total) + np.polyval([-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0], u)
    phi = (total - 2 * m[-1] ** 2 - 2 * m[-2] ** 2) / (1 - 2 * last**2 - 2 * before**2)
    inner = m[2:-2] / np.sqrt(phi)
    return np.concatenate([[-last, -before], inner, [before, last]])
