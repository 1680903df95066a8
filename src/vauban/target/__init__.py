"""What is attacked, and the surrogates that gradients are taken from."""

from vauban.target.base import Surrogate, Target
from vauban.target.surrogates import Expectation, Mean, Own, StraightThrough, default_surrogate
from vauban.target.torch import Torch

__all__ = ["Expectation", "Mean", "Own", "StraightThrough", "Surrogate", "Target", "Torch", "default_surrogate"]
