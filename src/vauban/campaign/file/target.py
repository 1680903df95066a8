"""The model under attack, its data and what stands around it, in a campaign file: the texts under the fields go into the published JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vauban.campaign.file.fields import AccessName, Bounds, Class, Classes, Count, Numbers
from vauban.campaign.file.http import GuardTable, HttpTable
from vauban.campaign.file.table import Table


class ModelTable(Table):
    """A model and how it is fed."""

    load: str
    """What to load: "file.py:function" or "package.module:function" (a model, or what makes one without arguments), "model.onnx", or,
    with --trust-pickle, "model.pkl" or "model.joblib"; a target may be an endpoint, "https://host/path". Paths are relative to this file."""
    weights: str | None = None
    """safetensors file or saved state dict for a torch module."""
    outputs: str = "auto"
    """What the raw outputs are: "logits", "probabilities", "log-probabilities", "sigmoid" (one output), "binary-logit" (one output), or
    "auto" to recognise it."""
    mean: Numbers | None = None
    """Subtracted from the inputs before the model, a number or one for each channel; for models that do not normalise by themselves."""
    std: Numbers | None = None
    """The inputs are divided by it after `mean` is subtracted, a number or one for each channel."""
    device: str | None = None
    """Where a torch module runs, such as "cpu", "cuda" or "mps"; by default where its parameters are."""
    gradients: Literal["float32", "bfloat16"] | None = None
    """The precision of a torch module's gradients: "bfloat16" is faster on processors that have it. Verdicts keep the model's own precision."""


class TargetTable(ModelTable):
    """The model under attack."""

    access: AccessName | None = None
    """Lowers what the model shows of itself, to attack it as a black box; for a function, what it shows."""
    reject: Class | None = None
    """The class that means "no answer", by number or name; an answer there is neither correct nor, by default, a success."""
    name: str = ""
    """What the report calls the model."""
    http: HttpTable | None = None
    """How an endpoint is asked, where `load` is "https://host/path"."""
    guard: GuardTable | None = None
    """How Vauban's guard is asked, where `load` is the address of its listener for devices."""
    encode: str | None = None
    """Of texts and a torch module: "file.py:function", from n strings to the ids (n, length) or one-hot rows (n, length, width) that it takes."""
    normalised: bool | None = None
    """Of texts: whether the model stands behind the confusable-skeleton normaliser. By default each threat is tried without and with it; the
    second finding is called like the threat with ", normalised" behind."""

    @model_validator(mode="after")
    def _endpoint(self) -> TargetTable:
        remote = self.load.startswith(("http://", "https://"))
        if remote and self.http is None and self.guard is None:
            raise ValueError("[target.http] is missing; say under it who allows the endpoint to be attacked, and how it answers")
        if self.http is not None and self.guard is not None:
            raise ValueError("[target.http] and [target.guard] cannot both say how it is asked")
        for name in ("http", "guard"):
            if getattr(self, name) is not None and not remote:
                raise ValueError(f'[target.{name}] is about an endpoint; load = "https://host/path" names one')
        return self


class DataTable(Table):
    """The rows to attack, with their labels."""

    load: str
    """Where the rows are: "data.npz"; a folder with one sub-folder of images for each class; "data.csv" or "data.parquet" (texts may lie in
    "data.jsonl" too); or "file.py:function", which returns inputs and labels. Paths are relative to this file."""
    kind: Literal["text"] | None = None
    """"text" where the rows are texts; by default they are numbers, and what they are is told from their shape."""
    text: str | None = None
    """Of texts: the column that holds them; "text" by default."""
    rows: Count | None = None
    """How many rows to take, a uniform sample that depends on the seed; by default all."""
    bounds: Bounds | None = None
    """The least and the greatest value that inputs can have: two numbers, or two lists with one number for each feature in C order. By
    default [0, 1], where the data lie in it; a table of numbers must say."""
    classes: Classes | None = None
    """The names of the classes in the order of the model's outputs."""
    group: str | None = None
    """The array or column that says which subgroup a row belongs to; results are broken down by it."""
    label: str | None = None
    """The label column of a table."""
    x: str = "x"
    """The array of an archive that holds the inputs."""
    y: str = "y"
    """The array of an archive that holds the labels."""
    split: str | None = None
    """The part to read, where the source has several, such as "test"."""
    layout: Literal["auto", "chw", "hwc", "hw", "vector", "series"] = "auto"
    """How the numbers of an input lie: channels first or last, or no image at all."""


class DefenceTable(Table):
    """A defence around the target. Every key besides `name` and `data` is a setting of it (`vauban list defences` names them)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1)]
    """The name of the defence, such as "jpeg", or "file.py:function" for one of your own."""
    data: DataTable | None = None
    """Clean rows to fit or calibrate it on, where it needs some. Never those of the audit, nor those the model was trained on."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the defence itself."""
        return dict(self.model_extra or {})
