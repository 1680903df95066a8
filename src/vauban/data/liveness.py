"""Synthetic faces for liveness checks: live, printed, replayed or masked. Drawn by a program: no photograph, no person, no claim about any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vauban.data.liveness_camera import OVERSAMPLED, captured
from vauban.data.liveness_instruments import INSTRUMENTS, live
from vauban.data.liveness_scene import Dice, Person
from vauban.data.rows import Rows
from vauban.errors import BadData, nearest
from vauban.noise import RowNoise

CLASSES = ("live", "spoof")
SPECIES = tuple(INSTRUMENTS)
SPLITS = {"train": 2400, "calibration": 600, "test": 600}
"""The parts, with the number of rows each has where nothing else is said. No identity is in two of them."""
AT_ONCE = 32
"""Pictures drawn in one go."""


def synthetic_faces(
    split: str = "test",
    rows: int | None = None,
    size: int = 32,
    seed: int = 0,
    species: Sequence[str] = SPECIES,
    cues: tuple[float, float] = (0.8, 1.4),
) -> Rows:
    """Small colour pictures of drawn faces, live or spoofed: **synthetic**, for trying a flow out, and no evidence about any real check.

    People differ in their features and colours, captures in pose, light, background and camera. A spoof shows a picture of the same kind
    through an instrument: `print` (fewer colours, halftone, paper, a bent sheet, edges), `replay` (gamma, backlight, pixels, moire, glare,
    bezel) or `mask` (an even shiny material with holes and an edge). Exposure and white balance are automatic, so that mean colours tell next
    to nothing. Each person has as many live captures as spoofs, and one spoof of each species. A row depends on (seed, split, its index) alone.

    Args:
        split: "train", "calibration" or "test"; no person is in two of them.
        rows: how many; by default 2,400, 600 and 600. Any start of a longer set is the shorter one.
        size: height and width in pixels, from 16 to 224.
        seed: of everything.
        species: which instruments, in turn.
        cues: the range of how strongly a capture shows what gives its instrument away; nearer to 0 is harder.

    Returns:
        Rows with x float32 (rows, 3, size, size), whole 256ths of [0, 1] as a camera stores them; classes "live" and "spoof"; `groups` the
        species of each row, "live" for a live one, in a column called "species".

    Raises:
        BadData: an unknown split or species, or a size, number of rows or range of cues that cannot be.

    >>> faces = synthetic_faces(rows=6, size=16)
    >>> faces.groups
    ('live', 'print', 'live', 'replay', 'live', 'mask')
    """
    count = _checked(split, rows, size, species, cues)
    kinds = [kind for name in species for kind in ("live", name)]
    ids = torch.arange(count)
    groups = tuple(kinds[i % len(kinds)] for i in range(count))
    x = torch.empty(count, 3, size, size)
    for kind in dict.fromkeys(groups):
        mine = torch.tensor([i for i in range(count) if groups[i] == kind])
        for part in mine.split(AT_ONCE):
            people = identity(part, split, len(species))
            x[part] = _drawn(kind, part, people, split, size, seed, cues).float() / 255
    y = torch.tensor([0 if kind == "live" else 1 for kind in groups])
    name = f"synthetic faces ({split} split, seed {seed}, {size} x {size})"
    notes = ("the pictures are synthetic: drawn by a program, no photographs",)
    return Rows(x, y, CLASSES, ids, name, kind="image", groups=groups, group_column="species", notes=notes)


def identity(index: Tensor, split: str, species: int = len(SPECIES)) -> Tensor:
    """The number of the person in each row: int64, like `index`. Persons of different splits have different numbers."""
    return index // (2 * species) * len(SPLITS) + list(SPLITS).index(split)


def _drawn(kind: str, index: Tensor, people: Tensor, split: str, size: int, seed: int, cues: tuple[float, float]) -> Tensor:
    """Captures of one kind, uint8 (m, 3, size, size)."""
    person = Person.drawn(Dice(RowNoise(people, seed, "person")))
    dice = Dice(RowNoise(index, seed, "capture", split))
    whole = size * OVERSAMPLED
    strength = dice.number(*cues)
    scene = live(person, dice, whole) if kind == "live" else INSTRUMENTS[kind](person, dice, whole, strength)
    return captured(scene, Dice(RowNoise(index, seed, "camera", split)))


def _checked(split: str, rows: int | None, size: int, species: Sequence[str], cues: tuple[float, float]) -> int:
    """The number of rows."""
    if split not in SPLITS:
        raise BadData(f"split = {split!r} of the synthetic faces does not exist; {nearest(split, SPLITS)}")
    unknown = next((s for s in species if s not in SPECIES), None)
    if unknown is not None:
        raise BadData(f"species {unknown!r} cannot be drawn; {nearest(unknown, SPECIES)}")
    if not species or len(set(species)) < len(species):
        raise BadData(f"species = {list(species)!r} must name at least one instrument, each once")
    if not 16 <= size <= 224:
        raise BadData(f"size = {size} must be from 16 to 224 pixels")
    if not 0 <= cues[0] <= cues[1] <= 2:
        raise BadData(f"cues = {cues} must be two numbers from 0 to 2, the smaller first")
    count = SPLITS[split] if rows is None else rows
    if count < 1:
        raise BadData(f"rows = {rows} must be 1 or more")
    return count


def write_images(rows: Rows, folder: str | Path) -> list[Path]:
    """Write pictures as PNG files into one sub-folder for each class, named after their group and id: "spoof/print-00001.png".

    They are read back by `load_data(folder)`, in another order (that of their names) and without their groups.

    Args:
        rows: images with 1 or 3 channels in [0, 1]; they are rounded to 256 levels.
        folder: made where it is not there.

    Returns:
        The files, in the order of the rows.

    Raises:
        BadData: rows that are no images, or a folder that holds something already.
    """
    if rows.kind != "image" or rows.shape[0] not in (1, 3) or (rows.lo, rows.hi) != (0.0, 1.0):
        raise BadData(
            f"{rows.name}: inputs of shape {rows.shape} in [{rows.lo}, {rows.hi}]; only grey and colour images in [0, 1] can be written"
        )
    base = Path(folder)
    if base.exists() and any(base.iterdir()):
        raise BadData(f"{base} holds something already; give a new folder")
    files = [base / rows.classes[y] / f"{g}-{i:05}.png" for y, g, i in zip(rows.y.tolist(), _groups(rows), rows.ids.tolist(), strict=True)]
    for made in {f.parent for f in files}:
        made.mkdir(parents=True)
    for file, picture in zip(files, rows.x, strict=True):
        levels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0]).save(file)
    return files


def _groups(rows: Rows) -> Iterable[str]:
    return rows.groups or ("row",) * len(rows)
