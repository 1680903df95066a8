"""A target of texts from what a campaign file says: code, or a pickle that is trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import nn

from vauban.doors.text.target import TextFunction, TextTarget, as_text_target
from vauban.doors.text.torch_text import Encode, TextTorch
from vauban.errors import BadTarget
from vauban.target.load import load_object
from vauban.target.weights import load_weights
from vauban.threat import Access


def load_text_target(
    spec: str,
    *,
    encode: Encode | None = None,
    weights: str | None = None,
    outputs: str = "auto",
    access: str | None = None,
    reject: int | None = None,
    device: str | None = None,
    classes: int | None = None,
    trust_pickle: bool = False,
    base: str | Path = ".",
    name: str = "",
) -> TextTarget:
    """The target of texts that a spec names.

    Args:
        spec: "file.py:name" or "package.module:name", where the name is a model, what makes one without arguments, or a function from a list of
            strings to scores or labels; with `trust_pickle`, "model.pkl" or "model.joblib". A model is a scikit-learn pipeline, a torch module
            with `encode`, or a `TextTarget`.
        encode: for a torch module, from n strings to what it takes.
        weights, device: of a torch module.
        outputs: what the raw outputs of a torch module or a function are.
        access: what a function shows, "label" or "score".
        reject: the class that means "no answer".
        classes: the number of classes, for a function that shows labels.
        base: the folder that paths are relative to.
        name: what the record calls it.

    Raises:
        BadTarget: what is named cannot be found, read or attacked.
    """
    if spec.lower().endswith(".onnx"):
        raise BadTarget(f'load = {spec!r} takes numbers; ask it within a function of a list of strings, "file.py:function"')
    folder = Path(base)
    found = load_object(spec, trust_pickle=trust_pickle, base=folder)
    target = _wrapped(found, spec, {"outputs": outputs, "device": device}, encode, weights, access, classes, folder)
    if access is not None and Access.parse(access) is not target.access:
        raise BadTarget(
            f"access = {access!r} can be said of a function, and {spec} is {target.kind}; say access under each [[threat]] instead"
        )
    if reject is not None:
        target.reject = reject
    target.name = name or target.name
    return target


def _wrapped(
    found: object, spec: str, said: dict[str, Any], encode: Encode | None, weights: str | None, access: str | None, classes: int | None, folder: Path
) -> TextTarget:  # fmt: skip
    if isinstance(found, nn.Module):
        if encode is None:
            raise BadTarget(
                f'{spec} is a torch module and takes no strings; say encode = "file.py:function", from n strings to what it takes'
            )
        if weights is not None:
            load_weights(found, folder / weights)
        return TextTorch(found, encode, **said)
    foreign = [k for k, v in {"encode": encode, "weights": weights, "device": said["device"]}.items() if v is not None]
    if foreign:
        raise BadTarget(f"{' and '.join(foreign)} cannot be set for {type(found).__name__}; they are for torch modules")
    bare = callable(found) and not isinstance(found, TextTarget | type) and not hasattr(found, "predict")
    if bare:
        f = cast("Callable[[list[str]], Any]", found)
        return TextFunction(f, access=access or "score", outputs=said["outputs"], classes=classes)
    if said["outputs"] != "auto":
        raise BadTarget(f"outputs cannot be set for {type(found).__name__}; they are for torch modules and functions")
    return as_text_target(found)
