"""An ONNX file as a target, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from vauban.errors import BadTarget, Missing, NotGranted, nearest
from vauban.noise import RowNoise
from vauban.target.base import Target
from vauban.target.outputs import KINDS, checked_kind, recognise, tensor_of
from vauban.threat import Access

Array = np.ndarray[Any, Any]

FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
SCORE_NAMES = ("logits", "probabilities", "output_probability", "probs", "scores", "output")


class Onnx(Target):
    """A classifier in an ONNX file: one float input (n, *shape), scores (n, classes) or (n,) out, or labels only.

    The (label, probabilities) pairs that converters of scikit-learn write are understood, as tensors and as lists of dictionaries. A file
    made for batches of a fixed size is asked batch by batch, the last one filled up with copies of its last row.

    Args:
        path: the file; weights that lie beside it are found.
        outputs: "logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit", or "auto" to recognise them on clean inputs.
        threads: how many threads one question may use.
        name: what the record calls it; by default the name of the file.
        output: the name of the output that holds the scores, where there are several.
        classes: number of classes, for a file that only answers labels.

    Raises:
        BadTarget: the file is missing, damaged, or no classifier.
        Missing: ONNX Runtime is not installed.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(
        self, path: str | Path, *, outputs: str = "auto", threads: int = 1, name: str = "", output: str = "", classes: int | None = None
    ) -> None:
        self.path = Path(path)
        self.name = name or self.path.name
        self.outputs = checked_kind(outputs, self.name)
        self.classes = classes
        self._session = _session(self.path, threads, self.name)
        self._input = self._one_input()
        self._output, self.access = self._answer(output)
        if self.access == Access.LABEL:
            self.outputs = "labels"
        shape = self._input.shape
        self._batch = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access < Access.SCORE:
            raise NotGranted(f"{self.name}: the file only answers labels, in output {self._output.name!r}")
        z = tensor_of(torch.from_numpy(self._run(x)), self.name)
        if self.outputs == "auto":
            self.outputs = recognise(z, self.name)
        scores = KINDS[self.outputs](z if z.dtype == torch.float64 else z.float())
        self.classes = self.classes or scores.shape[1]
        return scores

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        if self.access >= Access.SCORE:
            return self.scores(x).argmax(1)
        labels = torch.from_numpy(self._run(x).astype(np.int64)).reshape(len(x), -1)
        if labels.shape[1] != 1:
            raise BadTarget(f"{self.name}: {labels.shape[1]} labels for each input, as multi-label models give; one is needed")
        return labels[:, 0]

    def prepare(self, x: Tensor) -> None:
        self.labels(x)

    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def _one_input(self) -> Any:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(i.name for i in inputs) or "none"
            raise BadTarget(f"{self.name}: the file has {len(inputs)} inputs ({names}); Vauban attacks models with one")
        if inputs[0].type not in FLOATS:
            raise BadTarget(f"{self.name}: input {inputs[0].name!r} is {inputs[0].type}; export the model with a float input")
        return inputs[0]

    def _answer(self, wanted: str) -> tuple[Any, Access]:
        """The output to read, and what it shows: scores where there are any, else labels."""
        outputs = {o.name: o for o in self._session.get_outputs()}
        if wanted and wanted not in outputs:
            raise BadTarget(f"{self.name}: no output {wanted!r}; {nearest(wanted, outputs)}")
        usable = [o for o in outputs.values() if not wanted or o.name == wanted]
        scores = [o for o in usable if o.type in FLOATS or o.type.startswith("seq(map(")]
        if len(scores) > 1:
            scores = [o for word in SCORE_NAMES for o in scores if o.name.lower() == word][:1] or scores
        if len(scores) == 1:
            return scores[0], Access.SCORE
        labels = [o for o in usable if o.type in ("tensor(int64)", "tensor(int32)")]
        if not scores and len(labels) == 1:
            return labels[0], Access.LABEL
        found = ", ".join(f"{o.name} {o.type}" for o in outputs.values())
        raise BadTarget(f"{self.name}: cannot tell which output holds the class scores ({found}); name it: vauban.Onnx(path, output='...')")

    def _inputs(self, x: Tensor) -> Array:
        array = x.detach().cpu().numpy().astype(FLOATS[self._input.type])
        wants = self._input.shape
        if not wants:  # the file does not say
            return array
        given, asked = array.shape[1:], [s if isinstance(s, int) and s > 0 else None for s in wants[1:]]
        if len(asked) == 1 and len(given) > 1 and asked[0] == int(np.prod(given)):
            return array.reshape(len(array), -1)
        if len(given) != len(asked) or any(a is not None and a != g for g, a in zip(given, asked, strict=True)):
            text = ", ".join("any" if a is None else str(a) for a in asked)
            raise BadTarget(f"{self.name}: input {self._input.name!r} takes rows of shape ({text}), and the data have {tuple(given)}")
        return array

    def _run(self, x: Tensor) -> Array:
        """The answer to all rows: in batches of the size the file was made for, where it was."""
        array = self._inputs(x)
        if self._batch is None:
            return self._once(array)
        parts: list[Array] = []
        for start in range(0, len(array), self._batch):
            rows = array[start : start + self._batch]
            fill = np.repeat(rows[-1:], self._batch - len(rows), axis=0)
            parts.append(self._once(np.concatenate([rows, fill]))[: len(rows)])
        return np.concatenate(parts)

    def _once(self, array: Array) -> Array:
        try:
            raw = self._session.run([self._output.name], {self._input.name: array})[0]
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise BadTarget(f"{self.name}: ONNX Runtime failed on inputs of shape {array.shape}: {_first_line(error)}") from error
        found = _unzipped(raw) if isinstance(raw, list) else np.asarray(raw)
        if found.ndim == 0 or len(found) != len(array):
            raise BadTarget(f"{self.name}: {len(array)} inputs gave outputs of shape {found.shape}; a classifier answers each input once")
        return found


def _unzipped(rows: list[dict[object, float]]) -> Array:
    """The (n, classes) array behind ZipMap's list of dictionaries from class to probability."""
    return np.array([list(row.values()) for row in rows], dtype=np.float32)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _session(path: Path, threads: int, name: str) -> Any:
    try:
        runtime = cast("Any", import_module("onnxruntime"))
    except ImportError as error:
        raise Missing("ONNX Runtime is not installed; pip install 'vauban[onnx]'") from error
    if not path.is_file():
        raise BadTarget(f"{path}: no such file; give the path of an .onnx model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise BadTarget(f"{name}: ONNX Runtime cannot read the file, damaged or for a newer runtime: {_first_line(error)}") from error
