"""Measure on the owner's own rows what is usual: how alike different people's captures are, what they look like, how they are scored."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vauban.errors import BadData
from vauban.guard.keys import Keys
from vauban.guard.watch.anomaly import features, fit
from vauban.guard.watch.calibration import Calibration, Cells, Likeness, Rate, Scores
from vauban.guard.watch.sketch import LEAST, Hashes, Pixels, Sketcher
from vauban.guard.watch.thumbnail import Floats, Thumbnailer, stored
from vauban.guard.watch.values import Verdict
from vauban.guard.watch.watch import smaller
from vauban.measure.exact import clopper_pearson

ROWS = 100
"""With fewer nothing is calibrated."""
WIDER = 1.25
"""By what factor bounds of rates are moved outwards: service is never quite as the rows were."""
BANDS = (8, 6, 4, 3, 2, 1)
"""Scores that are close to the threshold, in eighths of log-odds: the widest that at most a twentieth of the rows are in."""
RANGES = 10
CELLS = 256
STRICTER = (0.0164, 0.012, 0.008, 0.006, 0.004, 0.003, 0.002)
"""Bars of thumbnails that are tried."""


@dataclass(frozen=True)
class Owner:
    """The owner's rows.

    Attributes:
        pictures: uint8 (h, w, 3) each, all of one size: what `Watch.look` will get.
        people: whose each is; two of one person are not compared. None if all are of different people.
        verdicts: for each ensemble by its id what it says to each row; may be empty.
    """

    pictures: Sequence[Pixels] = field(repr=False)
    people: Sequence[str] | None = None
    verdicts: Mapping[str, Sequence[Verdict]] = field(default_factory=dict[str, Sequence[Verdict]])


def calibrate(keys: Keys, owner: Owner, budget: float = 0.01, history: int = 100_000) -> Calibration:
    """Measure.

    Args:
        keys: the guard's: fingerprints are made with them.
        owner: the rows: 100 at least, some thousands for near-duplicates to be rejected at once.
        budget: the share of usual attempts that each of similarity and anomaly may reject.
        history: how many captures are remembered at a time in service.

    Raises:
        BadData: too few rows, or of several sizes.
    """
    shapes = {p.shape for p in owner.pictures}
    if len(owner.pictures) < ROWS or len(shapes) != 1:
        raise BadData(f"{len(owner.pictures)} rows of {len(shapes)} sizes; a calibration needs {ROWS} or more, of one size")
    pictures = [smaller(p) for p in owner.pictures]
    order = np.random.default_rng(0).permutation(len(pictures))
    centre, probes = _thumbnails(keys, pictures)
    likeness = _likeness(keys, pictures, probes, order, owner.people, budget, history)
    usual = fit(np.stack([features(pictures[i]) for i in order]), budget)
    found = Calibration(
        shape=(int(owner.pictures[0].shape[0]), int(owner.pictures[0].shape[1])),
        rows=len(pictures),
        likeness=likeness,
        centre=centre,
        usual=usual if np.isfinite(usual.bar) else None,
        cells=_cells(probes[order, 0]),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return replace(found, **_scored(owner.verdicts))


def bounds(hits: int, rows: int) -> Rate:
    """How often something happens, with bounds that are exact at 95% and then a quarter wider."""
    low, high = clopper_pearson(hits, rows)
    return Rate(hits, rows, low / WIDER, min(high * WIDER, (1 + high) / 2))


def _thumbnails(keys: Keys, pictures: Sequence[Pixels]) -> tuple[Floats, Floats]:
    """The mean thumbnail, and all probes without it, float32 (n, 10, 192)."""
    shape = (int(pictures[0].shape[0]), int(pictures[0].shape[1]))
    plain = Thumbnailer(keys.fingerprint, shape)
    centre = np.stack([plain.probes(p)[0] for p in pictures]).mean(0, dtype=np.float32)
    made = Thumbnailer(keys.fingerprint, shape, centre)
    return centre, np.stack([made.probes(p) for p in pictures])


def _likeness(
    keys: Keys,
    pictures: Sequence[Pixels],
    probes: Floats,
    order: npt.NDArray[np.intp],
    people: Sequence[str] | None,
    budget: float,
    history: int,
) -> Likeness:
    """Bars at which captures of different people are seldom near: one half is asked about, the other is the history.

    The share that is near one of a history grows with it, ever slower (for each capture it is 1 - (1 - p) ** history), so that in proportion is
    an upper bound for longer ones.
    """
    sketcher = Sketcher(keys.fingerprint, (int(pictures[0].shape[0]), int(pictures[0].shape[1])))
    half = len(order) // 2
    asked, kept = order[:half], order[half:]
    other = _others(people, asked, kept)
    sketches = {int(i): sketcher.sketch(pictures[i]) for i in order}
    alike = _sketched([sketches[int(i)] for i in asked], [sketches[int(i)] for i in kept]) & other
    far = _distances(probes, asked, kept)
    best = Likeness(history=history)
    for bar in STRICTER:
        near = int((alike | ((far <= bar) & other)).any(1).sum())
        chance = clopper_pearson(near, half)[1] / len(kept)
        best = Likeness(best.sketch, bar, chance, history, "first" if chance * history <= budget else "cluster")
        if best.objects == "first" or near == 0:
            break
    return best


def _others(people: Sequence[str] | None, asked: npt.NDArray[np.intp], kept: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    if people is None:
        return np.ones((len(asked), len(kept)), bool)
    names = np.array([str(p) for p in people])
    return names[asked][:, None] != names[kept][None]


def _distances(probes: Floats, asked: npt.NDArray[np.intp], kept: npt.NDArray[np.intp]) -> Floats:
    """One minus the largest cosine, float32 (asked, kept); what is flat is near to nothing."""
    thumbs = stored(probes[kept, 0]).astype(np.float32)
    length = np.linalg.norm(thumbs, axis=1, keepdims=True)
    thumbs /= np.where(length > 0, length, 1)
    return np.stack([1 - (probes[i] @ thumbs.T).max(0) for i in asked]).astype(np.float32)


def _sketched(asked: Sequence[Hashes], kept: Sequence[Hashes], share: float = 0.5) -> npt.NDArray[np.bool_]:
    """Whose sketches are near, bool (asked, kept)."""
    places: dict[int, list[int]] = {}
    for place, sketch in enumerate(kept):
        for value in sketch.tolist():
            places.setdefault(value, []).append(place)
    found = np.zeros((len(asked), len(kept)), bool)
    for row, sketch in enumerate(asked):
        shared = Counter(place for value in sketch.tolist() for place in places.get(value, ()))
        for place, count in shared.items():
            size = min(sketch.size, kept[place].size)
            found[row, place] = size >= LEAST and count >= share * size
    return found


def _cells(thumbs: Floats) -> Cells | None:
    """Cells of thumbnails: one half makes them, a quarter says how far is far, the last how often usual images are."""
    thumbs = thumbs[np.abs(thumbs).sum(1) > 0]
    half, quarter = len(thumbs) // 2, len(thumbs) // 4
    if quarter < ROWS // 2:
        return None
    first, second, third = thumbs[:half], thumbs[half : half + quarter], thumbs[half + quarter :]
    centres = _means(first, min(CELLS, half // 8))
    kept = stored(centres)
    bar = float(np.quantile(1 - (second @ _unit(kept).T).max(1), 0.99))
    near = third @ _unit(kept).T
    rate = bounds(int((1 - near.max(1) > bar).sum()), len(third))
    counts = np.bincount((np.concatenate([first, second]) @ _unit(kept).T).argmax(1), minlength=len(kept))
    return Cells(kept, counts / counts.sum(), bar, rate.high)


def _means(points: Floats, count: int, turns: int = 20) -> Floats:
    """Directions that stand for all: k-means with cosines, float32 (count, 192)."""
    rng = np.random.default_rng(0)
    centres = points[rng.choice(len(points), count, replace=False)]
    for _ in range(turns):
        mine = (points @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, mine, points)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.where(length > 0, length, 1), centres)
    return centres.astype(np.float32)


def _unit(thumbs: npt.NDArray[np.int8]) -> Floats:
    return (thumbs / np.linalg.norm(thumbs, axis=1, keepdims=True)).astype(np.float32)


def _scored(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, Mapping[str, Rate] | Mapping[str, Scores]]:
    rejects = {name: bounds(sum(not v.accept for v in told), len(told)) for name, told in verdicts.items()}
    splits = {name: bounds(sum(len({w.accept for w in v.votes}) > 1 for v in told), len(told)) for name, told in verdicts.items()}
    scores: dict[str, list[int]] = {}
    for told in verdicts.values():
        mine: dict[str, list[int]] = {}
        for vote in (w for v in told for w in v.votes):
            if vote.quantised is not None:
                mine.setdefault(vote.model, []).append(vote.quantised)
        scores |= mine
    return {"rejects": rejects, "splits": splits, "models": {name: _scores(np.array(s)) for name, s in scores.items()}}


def _scores(values: npt.NDArray[np.int64]) -> Scores:
    counts = np.bincount(values + 127, minlength=255)
    rates = {band: bounds(int((np.abs(values) <= band).sum()), len(values)) for band in BANDS}
    band = next((b for b in BANDS if rates[b].high <= 0.05), BANDS[-1])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, RANGES + 1)[1:-1], method="lower"))
    edges = edges[edges < values.max()]
    ranges = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    box = [clopper_pearson(int(n), len(values), 1 - 0.001 / len(ranges)) for n in ranges]
    low, high = (tuple(b[side] for b in box) for side in (0, 1))
    shares = tuple((ranges / len(values)).tolist())
    return Scores(tuple(counts.tolist()), band, rates[band], tuple(edges.tolist()), shares, low, high)
