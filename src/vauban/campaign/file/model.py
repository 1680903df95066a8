"""What may stand in a campaign file. The texts under the fields go into the published JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, PrivateAttr, Tag, model_validator

from vauban.campaign.file.fields import (
    AccessName,
    Bounds,
    Class,
    Classes,
    EditFamilies,
    Fraction,
    GoalForm,
    MaskOf,
    Names,
    NormName,
    Numbers,
    PatchSize,
    Pattern,
    Share,
    ThreatNorm,
    Words,
    goal_form,
)
from vauban.campaign.file.http import HttpTable
from vauban.campaign.file.source import Source
from vauban.campaign.file.table import Table

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


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
    encode: str | None = None
    """Of texts and a torch module: "file.py:function", from n strings to the ids (n, length) or one-hot rows (n, length, width) that it takes."""
    normalised: bool | None = None
    """Of texts: whether the model stands behind the confusable-skeleton normaliser. By default each threat is tried without and with it; the
    second finding is called like the threat with ", normalised" behind."""

    @model_validator(mode="after")
    def _endpoint(self) -> TargetTable:
        remote = self.load.startswith(("http://", "https://"))
        if remote and self.http is None:
            raise ValueError("[target.http] is missing; say under it who allows the endpoint to be attacked, and how it answers")
        if self.http is not None and not remote:
            raise ValueError('[target.http] is about an endpoint; load = "https://host/path" names one')
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


class TrainTable(Table):
    """How a surrogate is trained before the campaign: the attacker's own inputs, with their classes or with what the target answers."""

    data: DataTable
    """The attacker's own inputs. Never the rows under attack."""
    learn: Literal["classes", "labels", "scores"] = "labels"
    """What is learnt of them: the classes they come with, which asks the target nothing; or the labels or the scores that it answers."""
    questions: Count = 5000
    """The most that the target is asked for it, by all rounds together."""
    rounds: Seed = 4
    """How often the inputs are joined by new ones, a step along the gradient (Jacobian-based augmentation)."""
    step: Annotated[float, Field(gt=0)] = 0.1
    """How long that step is, in the units of the inputs."""
    epochs: Count = 20
    """Of training, in each round."""


class SurrogateTable(ModelTable):
    """A model of the attacker's own, to take gradients from: a threat names it with `surrogate`."""

    name: Annotated[str, Field(min_length=1)]
    """What threats call it."""
    train: TrainTable | None = None
    """Trains it first; `load` is then the network to train, or "default" for a small one that fits the inputs."""


class GoalTable(Table):
    """A wanted class, from any class or from given ones."""

    wanted: Class
    """The class the attacker wants, by name or number, or a file "wanted.npy" with one class number for each row of the source."""
    sources: Classes = Field(default=[], alias="from")
    """Only inputs of these classes are attacked; by default inputs of every other class."""


class AttackTable(Table):
    """One attack. Every key besides `name` and `queries` is a setting of the attack (`vauban list attacks` names them)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, use_attribute_docstrings=True)

    name: str
    """The attack's name, such as "pgd", or "file.py:function" for one of your own."""
    queries: Count | None = None
    """Its share: how many questions on each row it may spend of what the threat's budget has left; by default all."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings written for the attack."""
        return dict(self.model_extra or {})


class FeaturesTable(Table):
    """What an attacker may do to the columns of a table. Columns are named as in the data ("x0", "x1", ... where those have no names), or by a
    pattern such as "purpose_*"."""

    file: str | None = None
    """A CSV file with one line a feature: name, and any of kind (real, integer, category), lo, hi, change (any, up, down, none), group, scale.
    Relative to this file."""
    integer: list[str] = Field(default=[])
    """Columns of whole numbers."""
    fixed: list[str] = Field(default=[])
    """Columns that may not change."""
    up: list[str] = Field(default=[])
    """Columns that may only rise."""
    down: list[str] = Field(default=[])
    """Columns that may only fall."""
    groups: dict[str, str | list[str]] = Field(default={})
    """One-hot groups: for each its 0/1 columns, of which exactly one is 1."""
    bounds: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(default={})
    """The least and the greatest value of a column under this threat; by default the bounds of the data."""
    scale: Literal["range", "std"] | Annotated[float, Field(gt=0)] = "range"
    """What counts as a change of 1 in each column: its range, its standard deviation in the rows audited, or a number. `eps` is in these units."""
    scales: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    """Scales of single columns."""
    relations: list[str] = Field(default=[])
    """What must stay true between columns, such as "installment <= amount" or "rest == amount - paid"; + - * / % **, comparisons, `in`, and, or,
    not, min, max, abs, log. A name that is no single word stands in backquotes."""


class ThreatTable(Table):
    """One attacker: what it knows, wants, may do and may spend, and the attacks it tries in order."""

    name: Annotated[str, Field(pattern=r"\S")]
    """What the report and the promises call it."""
    access: AccessName | None = None
    """What the attacker sees of the model; by default all that the model shows."""
    norm: ThreatNorm | None = None
    """How a change is measured; "linf" by default. Of texts: "edits"."""
    eps: Fraction | None = None
    """How far an input may be moved, in the units of the inputs ("l0": how many features; "edits": how many edits); a number, a fraction such as
    "8/255", or inf."""
    families: EditFamilies | None = None
    """Of texts: the kinds of edits that are allowed; by default all."""
    metric: Literal["damerau", "levenshtein"] = "damerau"
    """Of texts: whether a swap of neighbours counts 1 ("damerau") or 2 ("levenshtein")."""
    protected: Words | None = None
    """Of texts: words that must stay as they are, with nothing put in or right beside them."""
    pattern: Pattern = ""
    """Of texts: a regular expression; what it matches must stay likewise."""
    mask: MaskOf | None = None
    """Which features may change: true and false for each feature in C order, or a file "mask.npy" that fits the shape of an input."""
    pixels: bool = False
    """With norm "l0", of images: whether eps counts pixels, all channels of one place, instead of features."""
    patch: PatchSize | None = None
    """Instead of `eps`: any change inside one window of an image, placed anywhere: the side of a square in pixels, or [height, width]."""
    rotation: Annotated[float, Field(ge=0, le=180)] | None = None
    """Instead of `eps`: how far an image may be rotated either way, in degrees."""
    translation: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Instead of `eps`: how far an image may be shifted either way, as a share of its height and width."""
    features: FeaturesTable | None = None
    """Of a table: constraints on its columns. `eps` then counts changes in scaled units, and only rows that keep every constraint count."""
    goal: Annotated[
        Annotated[Literal["untargeted"], Tag("word")] | Annotated[GoalTable, Tag("table")], Discriminator(goal_form), GoalForm
    ] = "untargeted"
    """What the attacker wants: "untargeted" (any wrong class), or a wanted class."""
    reject_wins: bool = False
    """Whether making the model refuse to answer counts as a success."""
    queries: Seed | None = None
    """How many inputs the attacker may have answered, for each row; by default no limit."""
    gradients: Seed | None = None
    """How many gradients of the model the attacker may take, for each row; by default no limit."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """How long the whole campaign under this threat may run; a limit that is hit is reported as a doubt."""
    suite: str | None = None
    """A named set of attacks (`vauban list suites`; of texts "vauban" or "baselines"), tried before those of `attack`; "vauban" where neither is
    given."""
    attack: list[AttackTable] = Field(default=[])
    """Attacks, in order; each works on what the ones before it left."""
    surrogate: Names | None = None
    """The surrogate that gradients are taken from, by name; of several, their mean. By default the model itself."""
    curve: bool = True
    """Whether minimum-norm attacks go on with broken rows too, which gives robust accuracy against eps."""
    samples: DataTable | None = None
    """Inputs of the attacker's own, with their classes: where attacks that see only labels look for a start. Never the rows under attack."""
    session: Count = 5
    """How many questions the service under attack lets pass in a session: what an attack costs is told in sessions, too."""
    day: Count = 10
    """How many it lets pass from one device in a day: what an attack costs is told in device-days, too."""
    radii: list[Fraction] = Field(default=[])
    """The radii of that curve, ascending; by default a grid up to twice eps."""

    @model_validator(mode="after")
    def _one_perturbation(self) -> ThreatTable:
        def said(*keys: str) -> list[str]:
            return [k for k in keys if getattr(self, k) is not None and getattr(self, k) is not False]

        ball, moved, masked = said("eps", "norm", "pixels"), said("rotation", "translation"), said("mask")
        if self.patch is not None and (ball or moved or self.features is not None):
            raise ValueError(f"patch and {[*ball, *moved, 'features'][0]} exclude each other; make two threats of them")
        if moved and (ball or masked):
            raise ValueError(f"{moved[0]} and {[*ball, *masked][0]} exclude each other; make two threats of them")
        if self.features is not None and (moved or masked):
            raise ValueError(f"features and {[*moved, *masked][0]} exclude each other; name what may not change in features.fixed")
        if self.features is not None and self.pixels:
            raise ValueError("features and pixels exclude each other; a table has no pixels")
        if not moved and self.eps is None and self.patch is None:
            raise ValueError('eps is missing; say how far an input may be moved, such as eps = "8/255"')
        return self


class PromiseTable(Table):
    """What the owner promises under a threat: at least these shares."""

    robust_accuracy: Share | None = None
    """The least share of rows that withstand every attack, in [0, 1]."""
    clean_accuracy: Share | None = None
    """The least share of rows classified correctly without attack, in [0, 1]."""


class RunTable(Table):
    """How the campaign is run."""

    chunk: Count = 250
    """Rows in one unit of work: what an interrupted run repeats at most."""
    max_rows: Count | None = None
    """Rows in one forward pass; by default chosen, and halved when memory runs out."""
    folder: str = "runs"
    """Where run folders are made, relative to this file."""
    inputs: bool = True
    """Whether adversarial examples and a gallery are kept in the run folder."""


class MethodTable(Table):
    """A way of training. Every key besides `name` is a setting of it (`vauban list methods` names them)."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, use_attribute_docstrings=True)

    name: str
    """The method's name, such as "trades", or "file.py:function" for one of your own."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the method is told."""
        return dict(self.model_extra or {})


class HardenTable(Table):
    """Training that makes the model withstand more (`vauban harden`): by default on the worst inputs that an attack finds."""

    method: MethodTable = MethodTable(name="adversarial")
    """What loss is taken of a batch."""

    attack: AttackTable = AttackTable.model_validate({"name": "pgd", "steps": 7, "step": 0.36})
    """The inner loop: any attack, which here searches for the worst loss."""
    threat: str | None = None
    """The threat to train against; by default the first one with a radius and gradients."""
    norm: NormName | None = None
    """In place of the threat's norm."""
    eps: Fraction | None = None
    """In place of the threat's eps."""
    data: DataTable | None = None
    """The rows to train on; never those of the audit."""
    epochs: Count = 10
    """How often every row is seen."""
    batch: Count = 128
    """Rows in one step of training."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """How the weights are changed; "sgd" has a momentum of 0.9."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """The learning rate at its highest."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    """How the learning rate goes: up to `lr` over the first 40 % of the steps and down to 0, or always the same."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Weight decay of the optimiser."""
    label_smoothing: Share = 0.0
    """The share of each label that is spread over all classes."""
    clip: Annotated[float, Field(ge=0)] = 10.0
    """Gradients of a larger norm are scaled down to it; 0 for no limit."""
    ema: Share = 0.0
    """The decay of a running mean of the weights, such as 0.999, which is then what is kept; 0 for none."""
    clean_share: Share = 0.0
    """The share of the rows in each batch that are not attacked."""
    awp: Annotated[float, Field(ge=0)] = 0.0
    """Adversarial weight perturbation: by how much of their norm weights are moved up the loss before it is taken, such as 0.005; 0 for none."""
    input_gradient: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the squared norm of the loss's gradient in the clean input."""
    jacobian: Annotated[float, Field(ge=0)] = 0.0
    """The weight of the squared norm of the scores' Jacobian in the clean input."""
    spectral: Annotated[float, Field(ge=0)] = 0.0
    """The largest spectral norm a weight matrix may have; 0 for no limit."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Images are shifted at random by up to so many pixels."""
    mirror: bool = False
    """Images are turned left to right at random."""
    ramp: Share = 0.3
    """The share of training over which eps grows from 0."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """"bfloat16" trains in mixed precision; "auto" does where that was measured to be faster."""
    held_out: Share = 0.1
    """The share of the rows that are kept apart to choose the best epoch by."""
    seeds: Count = 1
    """How many trainings to run, each with a seed of its own; the one that is most robust on held-out rows is kept, and how far they lie apart
    is told."""
    keep: Literal["best", "last"] = "best"
    """Which weights are kept: those most robust on held-out rows, or the last."""
    out: str = "hardened.safetensors"
    """Where the weights are written, relative to this file."""
    seed: Seed | None = None
    """Of the training's random numbers; by default that of the campaign."""


class ContenderTable(Table):
    """One line of the matrix: the target of the file, trained anew, behind defences, or another model in its place."""

    label: Annotated[str, Field(min_length=1)]
    """What the line is called."""
    defence: list[DefenceTable] = Field(default=[])
    """What stands around it, each around what the ones before it gave."""
    harden: HardenTable | None = None
    """How it is trained first; the rows are those of [harden.data] where it names none."""
    load: str | None = None
    """Another model than [target]'s."""
    weights: str | None = None
    """Other weights than [target]'s."""


class MatrixTable(Table):
    """Defences side by side (`vauban matrix`): each attack on each of them, naive and adaptive, with what each costs."""

    defences: list[str] = Field(default=[])
    """Defences and ways of training by name, with their default settings: "jpeg", "trades"."""
    defence: list[ContenderTable] = Field(default=[])
    """Further lines, with settings of their own."""
    attacks: list[str | AttackTable] = Field(default=["fgsm", "pgd", "apgd-t", "square", "hop-skip-jump"])
    """The columns: attacks, each alone on all rows; besides them every line is audited with `suite` and with what its defence owes."""
    suite: str = "vauban"
    """The set of attacks whose survivors are the robust accuracy of a line."""
    queries: Count = 1000
    """Questions on each row for the columns that see scores or labels."""
    data: DataTable | None = None
    """Clean rows that defences are fitted on; never those of the audit, nor those the model was trained on."""
    folder: str = "matrix"
    """Where what was measured is kept, relative to this file."""


class FileModel(Table):
    """A campaign: attack a model under stated threats, and hold it to what was promised."""

    title: str = ""
    """What the report is headed with."""
    seed: Seed = 0
    """Of all random numbers."""
    target: TargetTable
    defence: list[DefenceTable] = Field(default=[])
    """What stands around the target, each around what the ones before it gave: an input meets the last one first."""
    data: DataTable
    surrogate: list[SurrogateTable] = Field(default=[])
    """Models of the attacker's own."""
    threat: Annotated[list[ThreatTable], Field(min_length=1)]
    """The attackers."""
    promise: dict[str, PromiseTable] = Field(default={})
    """What is promised, for each threat by its name."""
    run: RunTable = RunTable()
    harden: HardenTable | None = None
    matrix: MatrixTable | None = None
    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """Where it was read from, for errors."""
        return self._source

    def read_from(self, source: Source) -> FileModel:
        """The same model, which knows where it was read from."""
        self._source = source
        return self
