"""The record of a campaign: plain values, readable without torch, written once and atomically."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from vauban.campaign.bill import EndpointBill
from vauban.campaign.cards import DataCard, TargetCard, ThreatCard
from vauban.campaign.declined import Declined
from vauban.campaign.ledger import Ledger
from vauban.campaign.presented import Presented
from vauban.campaign.validity import Validity
from vauban.errors import BadRun
from vauban.measure.rate import Rate

SCHEMA = 1
"""The version of the record's format; a record of another version is refused."""


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What one attack of a cascade did under one threat.

    Attributes:
        label: its name, unique in the finding ("pgd", "pgd#2").
        name, settings: the registered attack and all its settings.
        summary, paper, atlas, nist: the attack's facts: first line of its docstring, its source, MITRE ATLAS and NIST AI 100-2 names.
        tried: eligible rows still standing when it began.
        broken: rows that fell to it.
        left: rows still standing after it, of the finding's denominator.
        forwards, backwards: passes of the target, mean over the rows it ran on; for a minimum-norm attack of a campaign with a curve, these are
            broken ones too.
        surrogate_forwards, surrogate_backwards: passes of a surrogate that is not the target, likewise.
        seconds: wall-clock time.
        distance: median size of the examples it broke rows with, in the threat's norm; None when it broke none.
        first: for each row it broke, in row order, which of its questions on that row won (1 is the first).
        most: the most questions it asked on any row.
        stopped: why it ended early, if it did.
        proved: rows it proved robust, for a proof.
        rung: which rung of the ladder of an attacker without the model it belongs to; empty where the attacker holds the model.
    """

    label: str
    name: str
    settings: dict[str, Any]
    summary: str
    paper: str
    atlas: str
    nist: str
    tried: int
    broken: int
    left: int
    forwards: float
    backwards: float
    surrogate_forwards: float
    surrogate_backwards: float
    seconds: float
    distance: float | None = None
    first: tuple[int, ...] = ()
    most: int = 0
    stopped: str = ""
    proved: int = 0
    rung: str = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A sign that a number flatters the target, or that it cannot be trusted. `name` is a heading of docs/doubts.md."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """One class or one subgroup: clean and robust accuracy over the finding's denominator."""

    name: str
    clean: Rate
    robust: Rate


@dataclass(frozen=True, slots=True)
class Curve:
    """Robust accuracy against eps: the share of rows whose nearest known adversarial example is farther than each radius."""

    eps: tuple[float, ...]
    robust: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Anytime:
    """Robust accuracy against cost: what it was once so many passes, forward and backward, had been spent on each row that still stood.

    A question is one forward pass and a gradient one backward pass of the target, however many passes of its parts they take.
    """

    passes: tuple[int, ...]
    robust: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one threat came to.

    Attributes:
        threat: the threat.
        robust: rows that withstood every attack, of the denominator. For an untargeted goal the denominator is all rows and a misclassified
            one counts as broken; for a wanted class or a directional goal it is the rows that are attacked at all.
        clean: clean accuracy over all rows.
        denominator: what the denominator is, in words.
        attacks: in the order they ran, each on what the ones before it had left.
        curve: robust accuracy against eps, where a minimum-norm attack ran.
        classes: per true class.
        groups: per subgroup, where the data has a group column.
        confusion: confusion[true][answered] counts the denominator's rows, broken ones by their adversarial answer.
        rounding: of the broken rows with an example on file, those whose example still fools after rounding to 8 bits; None where the
            input is not an image in a box of 256 levels.
        unverified: rows whose example did not fool the target again in a fresh forward; they count as standing.
        rows: row ids of the denominator, in order, packed; see `standing`.
        held: one bit a row of `rows`: whether it withstood.
        doubts: reasons not to take the number at face value.
        seconds: wall-clock time of the whole threat.
        certified: rows of the denominator that are proven robust; None where no proof was tried, or none is known for this model. The true robust
            accuracy on these rows lies between this and `robust`.
        sure: one bit a row of `rows`: whether it is proven robust.
        anytime: robust accuracy against passes.
        ledger: what the questions came to, where the attacker holds less than the model itself.
        validity: what the adversarial texts are worth, where the inputs are texts.
        presented: what passed of each subgroup before and under attack, where the goal has a direction and the data a group column.
        declined: what a target that may reject did not answer; None where it cannot, or a rejection is a success.
    """

    threat: ThreatCard
    robust: Rate
    clean: Rate
    denominator: str
    attacks: tuple[AttackResult, ...]
    curve: Curve | None = None
    classes: tuple[Group, ...] = ()
    groups: tuple[Group, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    rounding: Rate | None = None
    unverified: int = 0
    rows: str = ""
    held: str = ""
    doubts: tuple[Doubt, ...] = ()
    seconds: float = 0.0
    certified: Rate | None = None
    sure: str = ""
    anytime: Anytime | None = None
    ledger: Ledger | None = None
    validity: Validity | None = None
    presented: Presented | None = None
    declined: Declined | None = None

    @property
    def name(self) -> str:
        return self.threat.name

    @property
    def robust_accuracy(self) -> float:
        return self.robust.value

    @property
    def naive(self) -> Rate | None:
        """Rows that withstood the attacker that does not know of the defence; None where there is no defence or no such attack.

        It is what the defence would be credited with by an evaluation that does not adapt to it. `robust` is never above it.
        """
        found = next((a for a in self.attacks if a.name == "oblivious" and not a.stopped), None)
        return None if found is None else Rate(found.left, self.robust.rows)

    @property
    def attack_success(self) -> float:
        """The share of the denominator that fell."""
        return 1 - self.robust.value

    @property
    def bracket(self) -> tuple[float, float]:
        """Between what and what the robust accuracy on these rows must lie: the share proven robust, and the share not broken."""
        return (0.0 if self.certified is None else self.certified.value), self.robust.value

    @property
    def open(self) -> int:
        """Rows that are neither broken nor certified."""
        return self.robust.hits - (0 if self.certified is None else self.certified.hits)

    def ends(self) -> dict[int, str]:
        """For each row id of the denominator, how it ended: "broken", "certified" or "open"."""
        held = self.standing()
        sure = unpack_bits(self.sure) or [False] * len(held)
        return {row: "broken" if not h else "certified" if s else "open" for (row, h), s in zip(held.items(), sure, strict=False)}

    def standing(self) -> dict[int, bool]:
        """For each row id of the denominator, whether it withstood every attack."""
        return dict(zip(unpack_ids(self.rows), unpack_bits(self.held), strict=False))


@dataclass(frozen=True, slots=True)
class Promise:
    """What the owner promised: at least this robust accuracy (or clean accuracy) under this threat."""

    threat: str
    robust_accuracy: float | None = None
    clean_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A whole campaign: who was attacked, on what, how, and what came of it; and what the endpoints that were asked have cost."""

    title: str
    target: TargetCard
    data: DataCard
    findings: tuple[Finding, ...]
    promises: tuple[Promise, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    seed: int = 0
    plan_sha256: str = ""
    command: str = ""
    started: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict[str, str])
    git: str = ""
    complete: bool = True
    endpoints: tuple[EndpointBill, ...] = ()
    schema: int = SCHEMA

    def __getitem__(self, threat: str) -> Finding:
        """The finding of a threat, by name."""
        for finding in self.findings:
            if finding.name == threat:
                return finding
        raise KeyError(f"no threat {threat!r} in this record; it has {', '.join(repr(f.name) for f in self.findings)}")

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    @property
    def holds(self) -> bool:
        """Whether the campaign is complete and every promise holds: neither breached nor in doubt. `assert vauban.audit(...).holds`."""
        from vauban.campaign.verdict import Verdict, verdict

        return verdict(self) is Verdict.HOLDS

    def __repr__(self) -> str:
        """One paragraph: every threat with its robust accuracy, every promise with its verdict, so that a failed assertion says why."""
        from vauban.campaign.verdict import judgements

        unfinished = "" if self.complete else " (unfinished)"
        parts = [f"{f.name}: {f.robust.text() if f.robust.rows else 'nothing'} of {f.robust.rows} rows robust" for f in self.findings]
        parts += [f"{j.threat}: {j.metric} {j.verdict.name.lower()}: {j.reason}" for j in judgements(self)]
        return f"<Record of {self.target.name} on {self.data.name}{unfinished}: {'; '.join(parts) or 'nothing was tried'}>"

    def write(self, path: Path) -> None:
        """Write as JSON, atomically: a reader sees the old record or the new one, never half of one."""
        write_atomically(path, msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record, or the record of a run folder.

        Raises:
            BadRun: there is none, it is damaged, or it was written in another version of the format.
        """
        file = path / "record.json" if path.is_dir() else path
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise BadRun(f"{file}: no record can be read there ({error.strerror}); give a run folder or its record.json") from error
        try:
            schema = msgspec.json.decode(raw, type=_Versioned).schema
            if schema != SCHEMA:
                raise BadRun(
                    f"{file}: the record has format {schema} and this Vauban reads format {SCHEMA}; audit again, or use the Vauban that wrote it"
                )
            return msgspec.json.decode(raw, type=cls)
        except msgspec.MsgspecError as error:
            raise BadRun(f"{file}: not a record of Vauban: {error}") from error


@dataclass(frozen=True, slots=True)
class _Versioned:
    schema: int


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing; the content is on disk before the name is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def pack_bits(bits: Sequence[bool]) -> str:
    """Truth values as base64, first row in the lowest bit of the first byte.

    >>> unpack_bits(pack_bits([True, False, True]))[:3]
    [True, False, True]
    """
    number = sum(1 << i for i, bit in enumerate(bits) if bit)
    return base64.b64encode(number.to_bytes((len(bits) + 7) // 8, "little")).decode()


def unpack_bits(text: str) -> list[bool]:
    """The inverse of `pack_bits`, padded with False to whole bytes."""
    return [bool(byte >> i & 1) for byte in base64.b64decode(text) for i in range(8)]


def pack_ids(ids: Sequence[int]) -> str:
    """Ascending row ids as ranges: "0-2,5".

    >>> pack_ids([0, 1, 2, 5]), unpack_ids("0-2,5")
    ('0-2,5', [0, 1, 2, 5])
    """
    ranges: list[list[int]] = []
    for i in ids:
        if ranges and ranges[-1][1] == i - 1:
            ranges[-1][1] = i
        else:
            ranges.append([i, i])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def unpack_ids(text: str) -> list[int]:
    """The inverse of `pack_ids`."""
    pairs = [part.partition("-") for part in text.split(",") if part]
    return [i for first, _, last in pairs for i in range(int(first), int(last or first) + 1)]
