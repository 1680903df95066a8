"""What was attacked, on what and by whom, in plain values: the cards of a record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ThreatCard:
    """A threat in plain values, for readers and for comparison between runs.

    Attributes:
        text: the whole threat in words.
        perturbation: its kind: "linf", "l2", "l1", "l0", "pixels", "patch", "transformations", "features", "edits".
        eps: its radius; None where it has none (JSON knows no infinity). `radius` reads it as a number.
        allowed: the perturbation in words.
        tolerance: by how much a candidate may exceed the radius before it is projected inward and asked again; what is kept exceeds it by 0.
    """

    name: str
    text: str
    access: str
    perturbation: str
    eps: float | None
    goal: str
    untargeted: bool = True
    queries: float | None = None
    gradients: float | None = None
    seconds: float | None = None
    lo: float = 0.0
    hi: float = 1.0
    allowed: str = ""
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.eps == math.inf:
            object.__setattr__(self, "eps", None)

    @property
    def radius(self) -> float:
        """The radius, inf where there is none."""
        return math.inf if self.eps is None else self.eps


@dataclass(frozen=True, slots=True)
class DefenceCard:
    """A defence around the model.

    Attributes:
        name, settings, family: the registered defence, all its settings, and what kind of defence it is.
        claims: the threat it claims to stop.
        adaptive: how the audit attacked it.
        paper: its source.
    """

    name: str
    settings: dict[str, Any]
    family: str
    claims: str
    adaptive: str
    paper: str


@dataclass(frozen=True, slots=True)
class TargetCard:
    """The model that was attacked, with the defences around it from the innermost to the outermost."""

    name: str
    kind: str
    access: str
    outputs: str
    classes: tuple[str, ...]
    sha256: str = ""
    parameters: int | None = None
    randomised: bool = False
    reject: int | None = None
    device: str = "cpu"
    defences: tuple[DefenceCard, ...] = ()


@dataclass(frozen=True, slots=True)
class DataCard:
    """The rows it was attacked on."""

    name: str
    rows: int
    shape: tuple[int, ...]
    sha256: str
    lo: float
    hi: float
    kind: str = "vector"
    group: str = ""
