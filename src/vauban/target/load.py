"""A target from what a campaign file says: code, an ONNX file, a pickle that is trusted, or an endpoint."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from vauban.errors import BadTarget, Missing
from vauban.target.base import Target
from vauban.target.function import Function
from vauban.target.onnx import Onnx
from vauban.target.restricted import restrict
from vauban.target.sklearn import Sklearn
from vauban.target.torch import Torch
from vauban.target.trees import Trees
from vauban.target.weights import load_weights
from vauban.threat import Access
from vauban.user_code import call, find, is_code, needs_arguments

PICKLES = (".pkl", ".pickle", ".joblib")
Settings = dict[str, Any]


def load_target(
    spec: str,
    *,
    weights: str | Path | None = None,
    outputs: str = "auto",
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    access: str | Access | None = None,
    reject: int | None = None,
    device: str | None = None,
    gradients: str | None = None,
    trust_pickle: bool = False,
    base: str | Path = ".",
    name: str = "",
    http: Mapping[str, Any] | None = None,
) -> Target:
    """The target that a spec names.

    Args:
        spec: "file.py:name" or "package.module:name", where the name is a model, a class or function that makes one without arguments,
            or a function from a batch to scores (`Function`); "model.onnx"; with `trust_pickle`, "model.pkl" or "model.joblib"; or, with
            `http`, "https://host/path".
            A model is a torch module, a scikit-learn estimator, or a `Target`.
        weights: safetensors or a saved state dict, for a torch module, or the one in a ready `Torch` target.
        outputs: what the raw outputs are, for a torch module, an ONNX file or a function.
        mean, std, device, gradients: for a torch module, as in `Torch`.
        access: lowers what the target shows ("label", "score"); for a function, what it shows; for an estimator, "gradient" reads its trees.
        reject: the class that means "no answer".
        base: the folder that paths are relative to.
        name: what the record calls it.
        http: how an endpoint is asked: for each argument of `vauban.target.http.Http` its fields.

    Raises:
        BadTarget: what is named cannot be found, read or attacked; errors in the user's code come with their file and line.
        NotGranted: more access than the target gives.
    """
    folder = Path(base)
    kind = None if outputs == "auto" else outputs
    settings: Settings = {"weights": weights, "outputs": kind, "mean": mean, "std": std, "device": device, "gradients": gradients}
    given = {k: v for k, v in settings.items() if v is not None}
    if "weights" in given:
        given["weights"] = folder / given["weights"]
    target = _target(spec, given, access, trust_pickle, folder) if http is None else _remote(spec, given, http)
    if name:
        target.name = name
    if reject is not None:
        target.reject = _checked_reject(reject, target)
    return target if access is None else restrict(target, access)


def _target(spec: str, given: Settings, access: str | Access | None, trust_pickle: bool, folder: Path) -> Target:
    if Path(spec).suffix.lower() == ".onnx":
        return Onnx(folder / spec, **_only(given, ("outputs",), "an ONNX file"))
    found = load_object(spec, trust_pickle=trust_pickle, base=folder)
    return _wrap(_own(found, spec) if "weights" in given else found, spec, given, access)


def _own(found: object, spec: str) -> object:
    """A copy of what lies ready in an imported module, where others find it too: weights are loaded into the copy."""
    module, _, name = spec.rpartition(":")
    if not isinstance(found, nn.Module | Torch) or getattr(sys.modules.get(module), name, None) is not found:
        return found
    try:
        return copy.deepcopy(found)
    except RuntimeError as error:  # torch refuses tensors that were computed
        raise BadTarget(f"{spec} cannot be copied to load weights into it: name a function that makes it ({error})") from error


def load_object(spec: str, *, trust_pickle: bool = False, base: str | Path = ".") -> object:
    """What a spec names before it is made a target: a pickle that is trusted, or code; what makes a model without arguments is called.

    Raises:
        BadTarget: it cannot be found or read.
    """
    folder = Path(base)
    if Path(spec).suffix.lower() in PICKLES:
        return _unpickled(folder / spec, trust_pickle)
    if not is_code(spec):
        raise BadTarget(
            f'target = {spec!r} is no model: write "file.py:function" or "package.module:function" (weights go into weights = ...), '
            '"model.onnx", "model.joblib", or "https://host/path" with [target.http]'
        )
    return _made(find(spec, folder), spec, folder)


def _remote(url: str, given: Settings, http: Mapping[str, Any]) -> Target:
    """An endpoint; `outputs` says what its scores are."""
    from vauban.target.http.read import http_of

    outputs = _only(given, ("outputs",), "an endpoint").get("outputs", "auto")
    return http_of(url, {**http, "answer": {**http["answer"], "outputs": outputs}})


def _made(found: Any, spec: str, folder: Path) -> object:
    """What was named, or what it makes: classes and functions without arguments are called; a function of a batch is itself the model."""
    ready = isinstance(found, nn.Module | Target) or not callable(found) or (hasattr(found, "predict") and not isinstance(found, type))
    maker = cast("Callable[..., object]", found)
    if ready:
        return maker
    if needs_arguments(maker):
        if isinstance(maker, type):
            raise BadTarget(f"{spec}: {maker.__name__} needs arguments; name a function without arguments that makes the model")
        return maker
    made = call(maker, spec, folder)
    if made is None:
        raise BadTarget(f"{spec} returned None; it must return the model")
    return made


def _wrap(found: Any, spec: str, given: Settings, access: str | Access | None) -> Target:
    if isinstance(found, nn.Module):
        weights = given.pop("weights", None)
        if weights is not None:
            load_weights(found, weights)
        return Torch(found, **given)
    if isinstance(found, Target):
        weights = given.pop("weights", None) if isinstance(found, Torch) else None
        _only(given, (), "a ready target")
        if isinstance(found, Torch) and weights is not None:
            load_weights(found.model, weights)
        return found
    if hasattr(found, "predict"):
        _only(given, (), "a scikit-learn estimator")
        return Trees(found) if access is not None and Access.parse(access) is Access.GRADIENT else Sklearn(found)
    if callable(found):
        return Function(found, access="score" if access is None else access, **_only(given, ("outputs",), "a function"))
    raise BadTarget(f"{spec} gives {type(found).__name__}; a model is a torch.nn.Module, a scikit-learn estimator, a Target, or a function")


def _only(given: Settings, allowed: tuple[str, ...], what: str) -> Settings:
    foreign = [k for k in given if k not in allowed]
    if foreign:
        raise BadTarget(f"{' and '.join(foreign)} cannot be set for {what}; they are for torch modules")
    return given


def _unpickled(path: Path, trusted: bool) -> object:
    if not path.is_file():
        raise BadTarget(f"{path}: no such file")
    if not trusted:
        raise BadTarget(
            f"{path.name} is a pickle, which can run any code when it is read; if you trust where it is from, say --trust-pickle"
        )
    try:
        import joblib
    except ImportError as error:
        raise Missing("joblib is not installed; pip install 'vauban[sklearn]'") from error
    try:
        return joblib.load(path)
    except Exception as error:  # a damaged pickle raises whatever it stumbles on
        raise BadTarget(
            f"{path.name} cannot be unpickled: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error


def _checked_reject(reject: int, target: Target) -> int:
    if reject < 0 or (target.classes is not None and reject >= target.classes):
        last = "the last class" if target.classes is None else str(target.classes - 1)
        raise BadTarget(f"{target.name}: reject = {reject} must be a class, from 0 to {last}")
    return reject
