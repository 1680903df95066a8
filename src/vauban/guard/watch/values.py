"""What the watch gives and takes: what was seen of an image, what it recalls, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vauban.guard.watch.sketch import Hashes
from vauban.guard.watch.thumbnail import Floats, Thumb


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept in mind of one image.

    Attributes:
        digest: keyed, of the exact pixels: 32 hexadecimal digits.
        sketch: int64 (k,), k <= 50: hashes of its texture.
        probes: float32 (10, 192): its thumbnail, shifted and mirrored.
        thumb: int8 (192,): the thumbnail as it is stored.
        anomaly: how unlike the owner's images it is, as `vauban guard calibrate` measures; None without a calibration.
        outside: whether it is far from all of them in the thumbnail; None without a calibration.
    """

    digest: str
    sketch: Hashes = field(repr=False)
    probes: Floats = field(repr=False)
    thumb: Thumb = field(repr=False)
    anomaly: float | None = None
    outside: bool | None = None


@dataclass(frozen=True)
class Recall:
    """What an image is like.

    Attributes:
        flags: of "replay" (these very pixels were there), "near" (a near-duplicate of another identity), "cluster" (near a cluster in alarm),
            "anomaly" (unlike the owner's images).
        objects: whether something that is in force speaks against accepting it.
        near: the prints it is near to, its own retakes too.
    """

    flags: tuple[str, ...] = ()
    objects: bool = False
    near: tuple[int, ...] = ()


class Claimant(Protocol):
    """The attempt, as it was admitted; identities are keyed hashes."""

    @property
    def attempt(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def account(self) -> str | None: ...
    @property
    def network(self) -> str: ...
    @property
    def ensemble(self) -> str: ...
    @property
    def at(self) -> float: ...


class Vote(Protocol):
    """What one model said."""

    @property
    def model(self) -> str: ...
    @property
    def accept(self) -> bool | None: ...
    @property
    def quantised(self) -> int | None: ...


class Verdict(Protocol):
    """What all said."""

    @property
    def accept(self) -> bool: ...
    @property
    def votes(self) -> Sequence[Vote]: ...
