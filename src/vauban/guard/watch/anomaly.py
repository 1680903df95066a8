"""How unlike the owner's images an input is: a few statistics that noise, patches and synthetic inputs change, and a distance in them.

The threshold is a rank among the owner's own images (conformal prediction; Vovk et al. 2005, section 2.2): whatever the statistics are worth, at
most the stated share of images like those is above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FEATURES = 10
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def features(pixels: Pixels) -> Floats:
    """Ten statistics of an image, float64 (10,).

    Two neighbours' differences along rows and columns, second differences along both, across, and of colour, as logarithms of means; mean and
    spread of brightness; the share of levels at either end; how much of the differences lies on few places.

    Args:
        pixels: uint8 (h, w, 3), h and w at least 4.
    """
    levels = pixels.astype(np.int16)
    bright = levels[:, :, 0] + 2 * levels[:, :, 1] + levels[:, :, 2]
    colour = levels[:, :, 0] - levels[:, :, 2]
    along, down = bright[:, 1:] - bright[:, :-1], bright[1:] - bright[:-1]
    steps = (along, down, along[:, 1:] - along[:, :-1], down[1:] - down[:-1], along[1:] - along[:-1], colour[:, 1:] - colour[:, :-1])
    sizes = [np.abs(s) for s in steps]
    means = np.array([float(s.mean()) for s in sizes])
    peak = np.sqrt(float(np.square(sizes[4], dtype=np.float32).mean())) / (means[4] + 1)
    ends = np.count_nonzero((pixels == 0) | (pixels == 255)) / pixels.size
    return np.array([*np.log(means + 1), float(bright.mean()) / 1020, float(bright.std()) / 1020, ends, np.log1p(peak)])


@dataclass(frozen=True, eq=False)
class Usual:
    """What the owner's images are like.

    Attributes:
        mean: float64 (10,).
        whiten: float64 (10, 10): what makes their statistics uncorrelated and of size one.
        bar: the score above which an image is unlike them.
        share: at most so many of images like theirs are above the bar.
        rows: on how many images that rests.
    """

    mean: Floats = field(repr=False)
    whiten: Floats = field(repr=False)
    bar: float
    share: float
    rows: int

    def score(self, pixels: Pixels) -> float:
        """The mean square of the whitened statistics: about 1 for a usual image."""
        return self.of(features(pixels))

    def of(self, found: Floats) -> float:
        """The score of statistics, float64 (10,)."""
        return float(np.square((found - self.mean) @ self.whiten).mean())


def fit(found: Floats, share: float) -> Usual:
    """What images with these statistics are like: one half gives mean and spread, the other the bar.

    Args:
        found: float64 (n, 10).
        share: of such images that may be above the bar.
    """
    half = len(found) // 2
    first, second = found[:half], found[half:]
    mean = first.mean(0)
    values, vectors = np.linalg.eigh(np.cov(first, rowvar=False) + 1e-9 * np.eye(FEATURES))
    usual = Usual(mean, vectors / np.sqrt(np.maximum(values, 1e-9)), np.inf, share, len(second))
    scores = np.sort([usual.of(f) for f in second])
    rank = int(np.ceil((1 - share) * (len(scores) + 1)))
    bar = float(scores[rank - 1]) if rank <= len(scores) else np.inf
    return Usual(usual.mean, usual.whiten, bar, share, len(second))
