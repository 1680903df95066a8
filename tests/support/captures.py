"""Captures for tests of the guard's watch: crops of the two photographs that scikit-learn brings, and who sends them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_images

from vauban.guard.quorum.votes import Verdict, Vote
from vauban.guard.storage import Store
from vauban.guard.watch import Recall, Watch

Pixels = npt.NDArray[np.uint8]
SIDE = 112
SERIAL = itertools.count(1)


@functools.cache
def photographs() -> list[Pixels]:
    """Two photographs, uint8 (427, 640, 3)."""
    return [np.asarray(image, np.uint8) for image in load_sample_images().images]


@functools.cache
def crops(side: int = SIDE) -> list[Pixels]:
    """Crops of them that do not overlap, uint8 (side, side, 3)."""
    found = []
    for photograph in photographs():
        rows, columns = photograph.shape[0] // side, photograph.shape[1] // side
        found += [photograph[y * side :, x * side :][:side, :side].copy() for y, x in itertools.product(range(rows), range(columns))]
    return found


@functools.cache
def captures() -> list[Pixels]:
    """Those crops that show something: two crops of one sky are alike, and rightly so."""
    cells = [x.reshape(8, SIDE // 8, 8, SIDE // 8, 3).mean((1, 3)) for x in crops()]
    return [x for x, c in zip(crops(), cells, strict=True) if np.sqrt(np.square(c - c.mean((0, 1))).mean()) > 20]


def scene(number: int, side: int = SIDE) -> Pixels:
    """A smooth picture that is like no other one, with grain, uint8 (side, side, 3)."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), float)
    return levels(smooth + rng.normal(0, 3, smooth.shape))


def levels(x: npt.NDArray[np.floating]) -> Pixels:
    """Rounded to whole levels."""
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def noisy(x: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """With Gaussian noise, in levels."""
    return levels(x + rng.normal(0, sigma, x.shape))


def shifted(x: Pixels, dy: int, dx: int) -> Pixels:
    """Moved by whole pixels; the edge is repeated."""
    far = max(abs(dy), abs(dx), 1)
    wide = np.pad(x, ((far, far), (far, far), (0, 0)), mode="edge")
    return np.ascontiguousarray(wide[far - dy :, far - dx :][: x.shape[0], : x.shape[1]])


def blinded(x: Pixels, rng: np.random.Generator, shift: int = 2) -> Pixels:
    """As an attacker hides that two queries are alike: a small shift, brightness up to 8 levels, noise of 2 levels."""
    dy, dx = rng.integers(-shift, shift + 1, 2)
    return noisy(levels(shifted(x, int(dy), int(dx)) + float(rng.integers(-8, 9))), 2, rng)


@dataclass(frozen=True)
class Sender:
    """Whoever sends a capture: an attempt that was admitted."""

    account: str = "account"
    device: str = ""
    session: str = ""
    network: str = "network"
    ensemble: str = "e1"
    at: float = 0.0
    attempt: int = field(default_factory=lambda: next(SERIAL))

    @classmethod
    def person(cls, name: str, at: float, network: str = "network") -> Sender:
        """A person with an account and a device, in a new session."""
        return cls(account=f"a {name}", device=f"d {name}", session=f"s {next(SERIAL)}", network=network, at=at)


def verdict(*scores: float) -> Verdict:
    """What models m1, m2, ... say, unanimously or not."""
    votes = tuple(Vote(f"m{i}", s, s > 0) for i, s in enumerate(scores, 1))
    return Verdict(all(v.accept for v in votes), votes)


def sent(watch: Watch, store: Store, pixels: Pixels, sender: Sender, scores: Sequence[float] = (3.0, 2.0)) -> Recall:
    """One attempt, as the guard puts it together."""
    seen = watch.look(pixels)
    with store.write() as tx:
        recall = watch.recall(tx, seen, sender)
        watch.record(tx, sender, seen, recall, verdict(*scores))
    return recall
