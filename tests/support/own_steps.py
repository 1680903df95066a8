"""Input steps of a person's own, as the defences that load one find them."""

import numpy as np


def coarse(x):
    """Sixteen levels."""
    return np.round(x * 15) / 15


def finer(x):
    """Thirty-two levels."""
    return np.round(x * 31) / 31
