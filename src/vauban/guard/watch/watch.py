"""The watch of one attempt: look at the picture, recall what it is like, record it; monitors count it later."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from vauban.errors import BadData, BadGuard
from vauban.guard.canonical import canonical
from vauban.guard.config.model import Watch as Config
from vauban.guard.keys import Keys
from vauban.guard.storage import Prepared, Store, Transaction
from vauban.guard.watch.calibration import Calibration, Likeness, read_calibration
from vauban.guard.watch.clusters import link
from vauban.guard.watch.expire import expire
from vauban.guard.watch.monitors import Monitor, monitors_of
from vauban.guard.watch.recall import alarmed, claim, identity_of, marks_of, search
from vauban.guard.watch.sketch import Pixels, Sketcher
from vauban.guard.watch.survey import survey
from vauban.guard.watch.tables import inbox, marks, prints
from vauban.guard.watch.thumbnail import Thumbnailer, nearest, stored
from vauban.guard.watch.tick import Alert, tick
from vauban.guard.watch.values import Claimant, Recall, Seen, Verdict

ALARM = 1e6
"""Evidence of a cluster from which on it is in alarm: by chance once in so many attempts at most."""
SIDE = 128
"""Larger images are first averaged down to at most this."""
_PRINT = Prepared(insert(prints).returning(prints.c.id))
_MARKS = Prepared(insert(marks))
_INBOX = Prepared(insert(inbox))


@dataclass(frozen=True)
class Watch:
    """What is noticed about attempts, and whether it speaks against accepting them.

    Args:
        keys: the guard's secrets.
        config: `[watch]`.
        calibration: what `vauban guard calibrate` measured, or None.
        alarm: evidence from which on a cluster is in alarm.

    Raises:
        BadGuard: something is to be enforced that was not calibrated.
    """

    keys: Keys = field(repr=False)
    config: Config
    calibration: Calibration | None = None
    alarm: float = ALARM

    def __post_init__(self) -> None:
        for name in ("similarity", "anomaly"):
            if getattr(self.config, name) == "enforce" and self.calibration is None:
                raise BadGuard(f'[watch] {name} = "enforce" needs a calibration; run `vauban guard calibrate`, or write "monitor"')
        if self.config.anomaly == "enforce" and self.calibration is not None and self.calibration.usual is None:
            raise BadGuard('[watch] anomaly = "enforce": the calibration has too few rows for that; give it more, or write "monitor"')

    @classmethod
    def opened(cls, keys: Keys, config: Config, path: Path | None, alarm: float = ALARM) -> Watch:
        """With the calibration in a file, if there is one.

        Raises:
            BadGuard: it cannot be read, or something is to be enforced without it.
        """
        return cls(keys, config, None if path is None else read_calibration(path, keys), alarm)

    @cached_property
    def likeness(self) -> Likeness:
        """When two are near."""
        return self.calibration.likeness if self.calibration else Likeness()

    @cached_property
    def _makers(self) -> dict[tuple[int, int], tuple[Sketcher, Thumbnailer]]:
        return {}

    def look(self, pixels: Pixels) -> Seen:
        """What is kept in mind of an image; nothing is read or written.

        Args:
            pixels: uint8 (h, w, 3), as one of the models gets them; always in the same size.

        Raises:
            BadData: these are none.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 16:
            raise BadData(
                f"pixels of type {pixels.dtype} and shape {pixels.shape}; give uint8 (height, width, 3), 16 pixels or more each way"
            )
        label = f"{pixels.shape[0]}x{pixels.shape[1]}\n".encode()
        digest = hmac.digest(self.keys.fingerprint, label + pixels.tobytes(), "sha256").hex()[:32]
        small = smaller(pixels)
        sketcher, thumbnailer = self._makers_of(small.shape[0], small.shape[1])
        probes = thumbnailer.probes(small)
        seen = Seen(digest, sketcher.sketch(small), probes, stored(probes[0]))
        return judged(seen, pixels, small, self.calibration) if self.calibration else seen

    def recall(self, tx: Transaction, seen: Seen, claimant: Claimant) -> Recall:
        """What the image is like among those of the last days. It marks its pixels as seen, so it needs a transaction that writes.

        Raises:
            GuardDown: the database.
        """
        flags = ["replay"] if self.config.replay != "off" and not claim(tx, seen.digest, claimant.at) else []
        near: tuple[int, ...] = ()
        if self.config.similarity != "off":
            found = search(tx, seen, claimant, self.likeness.sketch, self.likeness.thumb)
            near = found.ids
            flags += ["near"] if found.stranger else []
            flags += ["cluster"] if alarmed(tx, found.clusters, self.alarm) else []
        usual = self.calibration.usual if self.calibration and self.config.anomaly != "off" else None
        if usual is not None and seen.anomaly is not None and seen.anomaly > usual.bar:
            flags.append("anomaly")
        return Recall(tuple(flags), any(self._in_force(f) for f in flags), near)

    def record(self, tx: Transaction, claimant: Claimant, seen: Seen, recall: Recall, verdict: Verdict) -> None:
        """Remember it, in the transaction that makes the decision.

        Raises:
            GuardDown: the database; then there is no decision.
        """
        now, accept = claimant.at, verdict.accept and not recall.objects
        if self.config.similarity != "off":
            identity = identity_of(claimant)
            row = {"attempt": claimant.attempt, "at": now, "device": claimant.device, "identity": identity}
            row |= {"network": claimant.network, "accept": accept, "sketch": seen.sketch.tobytes(), "thumb": seen.thumb.tobytes()}
            new = int(tx.run(_PRINT, row).scalar())
            found = marks_of(seen.sketch, seen.thumb[None])
            if found:
                tx.run(_MARKS, [{"mark": m, "print": new} for m in found])
            if recall.near:
                link(tx, Written(new, identity, now, accept), recall.near, self.likeness.chance)
        if self.config.monitors != "off":
            tx.run(_INBOX, {"at": now, "told": told(claimant, seen, recall, verdict, accept)})

    def tick(self, store: Store, alert: Alert) -> int:
        """Count what was newly decided, at most 500 attempts, and tell what alarms; how many those were. Any process may, at any time.

        Args:
            alert: `alerts.alert`.

        Raises:
            GuardDown: the database; the next tick counts it.
        """
        return tick(store, self.monitors, self.alarm, alert)

    def survey(self, store: Store, alert: Alert) -> int:
        """Look for extraction in the clusters and networks that have grown; how many those are. Once a minute is enough.

        Raises:
            GuardDown: the database.
        """
        return survey(store, self.calibration.cells if self.calibration else None, alert)

    def expire(self, store: Store) -> int:
        """Forget what is older than `keep`; how many attempts that were.

        Raises:
            GuardDown: the database.
        """
        return expire(store, self.config.keep)

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) in which pictures were calibrated and must be decoded; None if none is."""
        return self.calibration.shape if self.calibration else None

    def pick(self, pixels: Mapping[tuple[int, int], Pixels]) -> Pixels:
        """Of the sizes that a picture was decoded in, the one to look at: the calibrated one, or the largest.

        Raises:
            BadData: it was not decoded in that.
        """
        wanted = self.size or max(pixels, key=lambda size: (size[0] * size[1], size))
        if wanted not in pixels:
            raise BadData(f"a picture was decoded in {sorted(pixels)}; the watch was calibrated on {wanted}")
        return pixels[wanted]

    @cached_property
    def monitors(self) -> tuple[Monitor, ...]:
        """What is followed over time."""
        return monitors_of(self.calibration) if self.config.monitors != "off" else ()

    def _in_force(self, flag: str) -> bool:
        if flag == "replay":
            return self.config.replay == "enforce"
        if flag == "anomaly":
            return self.config.anomaly == "enforce"
        return self.config.similarity == "enforce" and (flag == "cluster" or self.likeness.objects == "first")

    def _makers_of(self, height: int, width: int) -> tuple[Sketcher, Thumbnailer]:
        made = self._makers.get((height, width))
        if made is None:
            centre = self.calibration.centre if self.calibration else None
            made = Sketcher(self.keys.fingerprint, (height, width)), Thumbnailer(self.keys.fingerprint, (height, width), centre)
            self._makers[height, width] = made
        return made


def judged(seen: Seen, pixels: Pixels, small: Pixels, calibration: Calibration) -> Seen:
    """With how unlike the owner's images it is.

    Raises:
        BadData: these had another size.
    """
    if pixels.shape[:2] != calibration.shape:
        raise BadData(f"an image of {pixels.shape[:2]}; the watch was calibrated on {calibration.shape}")
    usual, cells = calibration.usual, calibration.cells
    far = None if cells is None else bool(nearest(seen.probes[:1], cells.centres).min() > cells.bar)
    return replace(seen, anomaly=None if usual is None else usual.score(small), outside=far)


@dataclass(frozen=True)
class Written:
    """A print that was just written."""

    id: int
    identity: str
    at: float
    accept: bool


def smaller(pixels: Pixels) -> Pixels:
    """An image of at most 128 by 128: blocks of it averaged, what does not fill a block left out."""
    block = -(-max(pixels.shape[:2]) // SIDE)
    if block == 1:
        return pixels
    height, width = pixels.shape[0] // block, pixels.shape[1] // block
    rows = pixels[: height * block].reshape(height, block, -1).sum(1, dtype=np.uint16)
    total = rows[:, : width * block * 3].reshape(height, width, block, 3).sum(2, dtype=np.uint32)
    return (total // (block * block)).astype(np.uint8)


def told(claimant: Claimant, seen: Seen, recall: Recall, verdict: Verdict, accept: bool) -> str:
    """What monitors count of an attempt, as JSON; no identity."""
    scores = {v.model: v.quantised for v in verdict.votes}
    found = {"ensemble": claimant.ensemble, "quorum": verdict.accept, "accept": accept}
    found |= {"scores": scores, "flags": recall.flags, "outside": seen.outside}
    return canonical(found)
