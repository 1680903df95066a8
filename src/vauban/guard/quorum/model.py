"""One model: an ONNX file that its manifest vouches for, in ONNX Runtime on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vauban.errors import BadManifest, GuardDown, Missing
from vauban.guard.quorum.inspection import inspect
from vauban.guard.quorum.manifest import Input, Manifest, Output

Floats = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]
LARGEST = 512 << 20
"""Bytes of an ONNX file."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
SURE = 1e-7
"""Probabilities nearer to 0 and 1 than this are taken as this."""


class Scores(Protocol):
    """What gives the log-odds of "live" to inputs."""

    @property
    def manifest(self) -> Manifest: ...

    def scores(self, levels: Levels) -> Floats:
        """uint8 (n, h, w, 3) to float64 (n,); NaN where there is none."""
        ...

    def stop(self) -> None:
        """Give up what is being computed, if that can be done."""
        ...


@dataclass(eq=False)
class Model:
    """A model that answers.

    Attributes:
        manifest: what is known of it.
        session: ONNX Runtime's; asked by one thread at a time.
        options: of the question that is being answered.
    """

    manifest: Manifest
    session: Any
    options: Any = None

    def scores(self, levels: Levels) -> Floats:
        """Log-odds of "live" for uint8 (n, h, w, 3).

        Raises:
            GuardDown: the runtime failed.
        """
        import onnxruntime

        told = self.manifest
        options = self.options = onnxruntime.RunOptions()
        try:
            parts = [self.session.run([told.output.name], {told.input.name: part}, options)[0] for part in self._fed(levels)]
        except Exception as error:  # whatever the runtime raises
            raise GuardDown(f"model {told.model}: {' '.join(str(error).split())[:200]}") from error
        return log_odds(parts[0] if len(parts) == 1 else np.concatenate(parts), told.output)

    def stop(self) -> None:
        """The runtime gives up at its next operator."""
        if self.options is not None:
            self.options.terminate = True

    def _fed(self, levels: Levels) -> list[npt.NDArray[np.float32]]:
        x = fed(levels, self.manifest.input)
        return [x[i : i + 1] for i in range(len(x))] if self._one_at_a_time else [x]

    @cached_property
    def _one_at_a_time(self) -> bool:
        return isinstance(self.session.get_inputs()[0].shape[0], int)


def fed(levels: Levels, wanted: Input) -> npt.NDArray[np.float32]:
    """Levels, uint8 (n, h, w, 3), as a model takes them: float32 (n, channels, h, w)."""
    x = levels.astype(np.float32)
    x /= np.float32(255)
    x = (x @ GREY)[:, None] if wanted.channels == 1 else x.transpose(0, 3, 1, 2)
    for numbers, sign in ((wanted.mean, -1), (wanted.std, 0)):
        if numbers is not None:
            each = np.array(numbers, np.float32).reshape(1, -1, 1, 1)
            x = x - each if sign else x / each
    return np.ascontiguousarray(x)


def log_odds(answer: npt.NDArray[Any], told: Output) -> Floats:
    """What a model answered as the log-odds of "live", float64 (n,); NaN where any of it is not finite.

    >>> log_odds(np.array([[0.0, 0.0], [2.0, np.inf]]), Output(name="z")).tolist()
    [0.0, nan]
    """
    z = answer.astype(np.float64).reshape(len(answer), -1)
    single = told.kind in ("logit", "probability")
    if (z.shape[1] != 1) if single else (z.shape[1] < 2 or told.live >= z.shape[1]):
        raise GuardDown(f"output {told.name!r} has {z.shape[1]} numbers for each input, which is no {told.kind} with class {told.live}")
    finite = np.asarray(np.isfinite(z).all(axis=1))
    z = np.where(finite[:, None], z, 0.0)
    if single:
        odds = z[:, 0] if told.kind == "logit" else _odds_of(z[:, 0])
        odds = odds if told.live else -odds
    elif told.kind == "logits" and z.shape[1] == 2:
        odds = z[:, told.live] - z[:, 1 - told.live]
    elif told.kind == "logits":
        others = np.delete(z, told.live, axis=1)
        top = others.max(axis=1)
        odds = z[:, told.live] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
    else:
        odds = _odds_of(z[:, told.live])
        finite &= (z >= -1e-3).all(axis=1) & (np.abs(z.sum(axis=1) - 1) < 1e-2)
    return np.where(finite, odds, np.nan)


def load(manifest: Manifest, folder: Path) -> Model:
    """A model from the file beside its manifest. The bytes that are checked are the bytes that are run.

    Raises:
        BadManifest: the file is another one, holds what is not served, or does not fit the manifest.
        Missing: ONNX Runtime is not installed.
    """
    path = folder / manifest.file
    try:
        if path.stat().st_size > LARGEST:
            raise BadManifest(f"{path}: is larger than {LARGEST} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise BadManifest(f"{path}: cannot be read: {error.strerror or error}") from error
    if sha256(content).hexdigest() != manifest.sha256:
        raise BadManifest(f"{path}: is not the file that the manifest of model {manifest.model!r} was signed for")
    inspect(content, str(path))
    return Model(manifest, _fitting(session_of(content, str(path)), manifest, str(path)))


def session_of(content: bytes, where: str) -> Any:
    """ONNX Runtime on one thread.

    Raises:
        BadManifest: it does not take the file.
        Missing: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise Missing('models are run by ONNX Runtime; pip install "vauban[guard]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises what it comes across
        raise BadManifest(f"{where}: ONNX Runtime does not take it: {' '.join(str(error).split())[:200]}") from error


def _fitting(session: Any, manifest: Manifest, where: str) -> Any:
    wanted, inputs = manifest.input, session.get_inputs()
    if len(inputs) != 1 or inputs[0].name != wanted.name or inputs[0].type != "tensor(float)":
        told = ", ".join(f"{i.name} {i.type}" for i in inputs)
        raise BadManifest(f"{where}: takes {told}; the manifest says one input {wanted.name!r} of float")
    shape = (None, wanted.channels, wanted.height, wanted.width)
    given = inputs[0].shape or shape
    if len(given) != 4 or any(isinstance(g, int) and s is not None and g != s for g, s in zip(given, shape, strict=True)):
        raise BadManifest(f"{where}: takes inputs of shape {given}; the manifest says {shape[1:]}")
    if isinstance(given[0], int) and given[0] != 1:
        raise BadManifest(f"{where}: takes {given[0]} inputs at once; export it for one, or for any number")
    if manifest.output.name not in {o.name for o in session.get_outputs()}:
        raise BadManifest(f"{where}: has no output {manifest.output.name!r}")
    return session


def _odds_of(p: Floats) -> Floats:
    sure = np.clip(p, SURE, 1 - SURE)
    odds = np.log(sure) - np.log1p(-sure)
    return np.where((p < -1e-3) | (p > 1 + 1e-3), np.nan, odds)
