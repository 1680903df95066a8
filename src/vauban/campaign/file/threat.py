"""The attackers in a campaign file: what they may do, the attacks they try and the models of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from vauban.campaign.file.fields import (
    AccessName,
    Class,
    Classes,
    Count,
    EditFamilies,
    Fraction,
    GoalForm,
    MaskOf,
    Names,
    PatchSize,
    Pattern,
    Seed,
    ThreatNorm,
    Words,
    goal_form,
)
from vauban.campaign.file.table import Table
from vauban.campaign.file.target import DataTable, ModelTable


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
