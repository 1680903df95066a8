"""A few broken rows of a threat for the report, chosen by row id: the same ones in every run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import write_atomically
from vauban.campaign.run.besiege import labels_of
from vauban.campaign.run.folder import RunFolder
from vauban.campaign.run.survey import Ground
from vauban.campaign.run.tally import Tally
from vauban.geometry import body_of
from vauban.report.gallery import Gallery
from vauban.target import Target
from vauban.threat import Access, Edits, Transformations

MOST = 12


def chosen(done: Tally, most: int = MOST) -> list[int]:
    """Places in the tally: of the rows that an attack broke, the first of each class by row id, then the second of each, and so on."""
    seen: dict[int, int] = {}
    order: list[tuple[int, int]] = []
    for place in np.flatnonzero(done.broken & (done.by >= 0)).tolist():
        label = int(done.label[place])
        order.append((seen.get(label, 0), place))
        seen[label] = seen.get(label, 0) + 1
    return [place for _, place in sorted(order)[:most]]


def write_gallery(folder: RunFolder, plan: Plan, siege: Siege, ground: Ground, done: Tally) -> Gallery | None:
    """Choose the rows, read their examples back, and write gallery/<threat>.npz. None where nothing broke."""
    places = chosen(done)
    if not places:
        return None
    adversarial = _examples(folder, siege.threat.name, places, done)
    found = gallery(plan, siege, ground, done, adversarial, places)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **{f.name: getattr(found, f.name) for f in fields(found)})
    write_atomically(folder.gallery(siege.threat.name), out.getvalue())
    return found


def gallery(plan: Plan, siege: Siege, ground: Ground, done: Tally, adversarial: Tensor, places: Sequence[int]) -> Gallery:
    """The gallery of some rows, with the adversarial inputs (m, *shape) that broke them."""
    labels = labels_of(siege.attacks)
    at = torch.from_numpy(np.searchsorted(ground.rows.ids.numpy(), done.row[list(places)]))
    clean = ground.rows.x[at]
    answer, after = ground.answers[at], torch.from_numpy(done.after[list(places)])
    return Gallery(
        clean.numpy().astype(np.float32),
        adversarial.numpy(),
        done.label[list(places)],
        answer.numpy(),
        after.numpy(),
        _sure(plan.target, clean, answer),
        _sure(plan.target, adversarial, after),
        _sizes(siege, clean, adversarial, done.size[list(places)]),
        done.row[list(places)],
        np.array([labels[b] for b in done.by[list(places)].tolist()]),
    )


def _examples(folder: RunFolder, threat: str, places: Sequence[int], done: Tally) -> Tensor:
    """The adversarial inputs of some rows, from the files of their chunks; each file is opened once and only those rows are read."""
    number_of = {f.row: c.number for c in done.chunks for f in c.fates}
    rows = done.row[list(places)].tolist()
    found: dict[int, Tensor] = {}
    for number in sorted({number_of[r] for r in rows}):
        with safe_open(folder.adversarial(threat, number), "pt") as file:
            index = {r: i for i, r in enumerate(file.get_tensor("row").tolist())}
            inputs = file.get_slice("x")
            found |= {r: inputs[index[r] : index[r] + 1] for r in rows if number_of[r] == number}
    return torch.cat([found[r] for r in rows])


def _sizes(siege: Siege, clean: Tensor, adversarial: Tensor, parameters: np.ndarray) -> np.ndarray:
    """How far each example lies from its clean input, float64 (m,); for transformations, the share of what is allowed."""
    allowed = siege.threat.perturbation
    return parameters if isinstance(allowed, Transformations | Edits) else body_of(allowed, clean).distance(clean, adversarial).numpy()


def _sure(target: Target, x: Tensor, answers: Tensor) -> np.ndarray:
    """Confidence in the answers, float64 (m,); NaN where the target only shows labels, or answers anew each time."""
    if target.access < Access.SCORE or target.randomised:
        return np.full(len(x), np.nan)
    z = target.scores(x.to(target.device)).double().cpu()
    shares = z if target.outputs == "votes" else z.softmax(1)
    return shares.gather(1, answers[:, None])[:, 0].numpy()
