"""A model's manifest: what the file is, how it is asked, where it says "live", and how it was found to do so."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vauban.errors import BadManifest

KIND = "vauban model"
FORMAT = 1
GOLDEN = 64
"""Golden inputs that a manifest may hold."""


def _plain(name: str) -> str:
    if "/" in name or "\\" in name or name.startswith(".") or "\0" in name:
        raise ValueError("must be the name of a file in the manifest's own folder")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FileName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=8, le=1024)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a manifest: strict, and closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Input(Part):
    """What the model is fed: float32 (n, channels, height, width), (levels / 255 - mean) / std for each channel.

    Attributes:
        name: of the ONNX input.
        channels: 3 for red, green and blue, 1 for grey (ITU-R 601 luma).
        mean, std: of each channel, where the file does not normalise by itself.
    """

    name: str
    channels: Literal[1, 3] = 3
    height: Side
    width: Side
    mean: tuple[Finite, ...] | None = None
    std: tuple[Annotated[Finite, Field(gt=0)], ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, told: Any) -> Any:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()} if isinstance(told, dict) else told

    @model_validator(mode="after")
    def _one_each(self) -> Input:
        if any(v is not None and len(v) != self.channels for v in (self.mean, self.std)):
            raise ValueError(f"mean and std must have one number for each of {self.channels} channels")
        return self


class Output(Part):
    """How what the model answers becomes the log-odds of "live".

    Attributes:
        name: of the ONNX output.
        kind: "logits" and "probabilities" are (n, classes), or (n, 2) at least; "logit" and "probability" are one number for each input.
        live: which class is "live"; of a single number, 1 if it speaks for "live" and 0 if it speaks against.
    """

    name: str
    kind: Literal["logits", "probabilities", "logit", "probability"] = "logits"
    live: Annotated[int, Field(ge=0, le=9999)] = 0

    @model_validator(mode="after")
    def _for_or_against(self) -> Output:
        if self.kind in ("logit", "probability") and self.live > 1:
            raise ValueError("live must be 0 or 1 where the output is a single number")
        return self


class Errors(Part):
    """Rows of one kind, and how many of them were decided wrongly.

    Attributes:
        rows: how many there were.
        wrong: live ones that were rejected, or attacks that were accepted.
        bounds: the exact interval of the share (Clopper and Pearson).
    """

    rows: Count
    wrong: Count
    bounds: tuple[Share, Share]

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, told: Any) -> Any:
        return {**told, "bounds": tuple(told["bounds"])} if isinstance(told, dict) and isinstance(told.get("bounds"), list) else told


class Calibration(Part):
    """The operating point, and what was measured there.

    Attributes:
        budget: the share of live attempts that may be rejected; the upper bound for the calibration rows is at most this.
        level: of the intervals.
        live: the live rows.
        attacks: attacks by their kind ("print", "replay"); they are told, the threshold does not look at them.
        rows_sha256: of the rows, so that the same ones can be found again.
    """

    budget: Share
    level: Share
    live: Errors
    attacks: dict[str, Errors]
    rows_sha256: Sha256


class Golden(Part):
    """Inputs with the scores that they had when the manifest was signed: a runtime that answers otherwise is not used.

    Attributes:
        inputs: base64 of uint8 (n, height, width, 3).
        scores: log-odds of "live".
        tolerance: how far scores may lie apart; none of the golden ones is nearer to the threshold than ten times this.
    """

    inputs: str
    scores: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=GOLDEN)]
    tolerance: Annotated[Finite, Field(gt=0, le=0.1)] = 1e-3

    @model_validator(mode="before")
    @classmethod
    def _tuple(cls, told: Any) -> Any:
        return {**told, "scores": tuple(told["scores"])} if isinstance(told, dict) and isinstance(told.get("scores"), list) else told


class Manifest(Part):
    """What is known and promised of one model.

    Attributes:
        model: its name; votes are told by it.
        file: the ONNX file beside the manifest.
        sha256: of the file.
        family: the architecture family; two models of one family in a row give an attacker's examples a second life.
        threshold: an attempt is accepted where the log-odds of "live" exceed it.
        evidence: what is known of the training, for the auditor: the guard shows it and does not believe it.
        made: when, ISO 8601.
    """

    format: Literal[1] = 1
    model: Name
    file: FileName
    sha256: Sha256
    family: Name
    input: Input
    output: Output
    threshold: Finite
    calibration: Calibration
    golden: Golden
    evidence: dict[str, Any]
    made: str

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its input."""
        return self.input.height, self.input.width

    @property
    def hardened(self) -> bool:
        """Whether its publisher vouches that it was trained against an attack."""
        training: Any = self.evidence.get("training")
        return isinstance(training, dict) and bool(training.get("attack"))

    def golden_inputs(self) -> npt.NDArray[np.uint8]:
        """The golden inputs, uint8 (n, height, width, 3).

        Raises:
            BadManifest: there are not as many as scores.
        """
        shape = (len(self.golden.scores), *self.size, 3)
        try:
            flat = np.frombuffer(base64.b64decode(self.golden.inputs, validate=True), np.uint8)
        except binascii.Error as error:
            raise BadManifest(f"model {self.model!r}: its golden inputs are no base64") from error
        if flat.size != np.prod(shape):
            raise BadManifest(f"model {self.model!r}: golden inputs of {flat.size} bytes; {shape} were to be there")
        return flat.reshape(shape)


def manifest_of(value: dict[str, Any], where: str) -> Manifest:
    """The manifest in an opened document.

    Raises:
        BadManifest: something in it cannot be meant.
    """
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadManifest(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
