"""What is attacked, and the surrogates that gradients are taken from."""

from vauban.target.base import Surrogate, Target
from vauban.target.committee import Committee
from vauban.target.function import Function
from vauban.target.load import load_target
from vauban.target.onnx import Onnx
from vauban.target.preprocessed import Preprocessed
from vauban.target.restricted import restrict
from vauban.target.sklearn import Sklearn
from vauban.target.surrogates import Expectation, Mean, Own, StraightThrough, View, Viewed, default_surrogate
from vauban.target.torch import Torch
from vauban.target.trees import Trees

__all__ = [
    "Committee",
    "Expectation",
    "Function",
    "Mean",
    "Onnx",
    "Own",
    "Preprocessed",
    "Sklearn",
    "StraightThrough",
    "Surrogate",
    "Target",
    "Torch",
    "Trees",
    "View",
    "Viewed",
    "default_surrogate",
    "load_target",
    "restrict",
]
