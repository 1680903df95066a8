"""What is attacked, and the surrogates that gradients are taken from. `Http` is imported when it is first used."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from vauban.target.http import Http

__all__ = [
    "Committee",
    "Expectation",
    "Function",
    "Http",
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


def __getattr__(name: str) -> Any:
    """`Http`, from where it lives: most campaigns ask nobody over a network."""
    if name != "Http":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vauban.target.http import Http

    return Http
