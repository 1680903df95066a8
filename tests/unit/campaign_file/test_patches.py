"""Patches and pixels in a campaign file: what they come to, and what cannot be meant, told with line and key."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from vauban.campaign.file import plan_of, read_file
from vauban.campaign.file.schema import schema
from vauban.errors import BadPlan
from vauban.threat import Ball, Patch

FILE = """[target]
load = "m.py:build"

[data]
load = "d.npz"
bounds = [0, 1]

[[threat]]
name = "sticker"
patch = 3
suite = "quick"

[[threat]]
name = "dirt"
norm = "l0"
eps = 4
pixels = true
"""

CODE = """
import torch


def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE, 2))
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A campaign on twelve colour images of 5 x 4, named by layout."""
    return written(
        tmp_path, np.random.default_rng(0).random((12, 3, 5, 4), dtype=np.float32), FILE.replace("[0, 1]", '[0, 1]\nlayout = "chw"')
    )


def written(folder: Path, x: np.ndarray, text: str) -> Path:
    np.savez(folder / "d.npz", x=x, y=np.arange(len(x)) % 2)
    (folder / "m.py").write_text(CODE.replace("SIZE", str(x[0].size)))
    (folder / "vauban.toml").write_text(text)
    return folder / "vauban.toml"


def test_patches_and_pixels_come_to_their_perturbations(pictures: Path) -> None:
    sticker, dirt = plan_of(read_file(pictures)).sieges
    assert sticker.threat.perturbation == Patch(3)
    assert [a.name for a in sticker.attacks] == ["fgsm", "patch-pgd"]
    assert dirt.threat.perturbation == Ball(4, "l0", pixels=True)
    assert {"sparse-rs", "sigma-zero"} <= {a.name for a in dirt.attacks}


def test_a_patch_may_be_a_rectangle_and_kept_off_some_pixels(pictures: Path) -> None:
    np.save(pictures.parent / "mask.npy", np.arange(4) > 0)
    pictures.write_text(pictures.read_text().replace("patch = 3", 'patch = [2, 4]\nmask = "mask.npy"'))
    found = plan_of(read_file(pictures)).sieges[0].threat.perturbation
    assert found == Patch((2, 4), mask=[False, True, True, True] * 15)


def test_the_plan_in_plain_values_changes_with_the_patch_and_the_pixels(pictures: Path) -> None:
    text = pictures.read_text()
    seen = []
    for old, new in (("", ""), ("patch = 3", "patch = [3, 2]"), ("patch = 3", "patch = 2"), ("pixels = true", "pixels = false")):
        pictures.write_text(text.replace(old, new, 1))
        seen.append(json.dumps(plan_of(read_file(pictures)).resolved["threats"], allow_nan=False))
    assert len(set(seen)) == 4


# (what stands in the file, what stands there instead, the sentence)
MISTAKES = [
    (
        "patch = 3",
        "patch = 0",
        'vauban.toml:11: [[threat]] "sticker": patch = 0 must be the side of a square in pixels, a whole number of 1 or',
    ),
    ("patch = 3", "patch = 2.5", 'vauban.toml:11: [[threat]] "sticker": patch = 2.5 must be the side of a square in pixels'),
    ("patch = 3", 'patch = "3"', 'vauban.toml:11: [[threat]] "sticker": patch = "3" must be the side of a square in pixels'),
    ("patch = 3", "patch = true", 'vauban.toml:11: [[threat]] "sticker": patch = true must be the side of a square in pixels'),
    ("patch = 3", "patch = [1, 2, 3]", 'vauban.toml:11: [[threat]] "sticker": patch = [1, 2, 3] must be the side of a square in pixels'),
    (
        "patch = 3",
        "\npatch = [5, 5]",
        'vauban.toml:12: [[threat]] "sticker": patch of 5 x 5 pixels is larger than the image, 5 x 4; give a smaller one',
    ),
    ("patch = 3", "patch = 3\neps = 1", 'vauban.toml:9: [[threat]] "sticker": patch and eps exclude each other; make two threats of them'),
    (
        "patch = 3",
        "patch = 3\nrotation = 0",
        'vauban.toml:9: [[threat]] "sticker": patch and rotation exclude each other; make two threats of',
    ),
    ("patch = 3", "rotation = 0\npixels = true", 'vauban.toml:9: [[threat]] "sticker": rotation and pixels exclude each other'),
    ("pixels = true", "pixels = 1", 'vauban.toml:18: [[threat]] "dirt": pixels = 1 should be a valid boolean'),
    (
        'norm = "l0"',
        'norm = "l2"',
        'vauban.toml:16: [[threat]] "dirt": pixels are counted in L0, and the norm is l2; say norm = "l0", or leave',
    ),
    ('norm = "l0"\n', "", 'vauban.toml:17: [[threat]] "dirt": pixels are counted in L0, and the norm is linf; say norm = "l0"'),
    ("eps = 4", "eps = 21", 'vauban.toml:17: [[threat]] "dirt": eps = 21 pixels is more than the 20 an input has'),
    (
        "eps = 4",
        "eps = 0.5",
        'vauban.toml:17: [[threat]] "dirt": eps = 0.5 changes no pixel: an L0 radius counts pixels and must be at least 1',
    ),
    (
        "pixels = true",
        'pixels = true\nattack = [{ name = "jsma" }]',
        "vauban.toml:19: [[threat]] \"dirt\", [[threat.attack]] \"jsma\": attack 'jsma' works on l0, and threat 'dirt' allows pixels",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES)
def test_what_cannot_be_meant_is_told_with_its_line(pictures: Path, old: str, new: str, sentence: str) -> None:
    assert old in pictures.read_text()
    pictures.write_text(pictures.read_text().replace(old, new, 1))
    with pytest.raises(BadPlan) as error:
        plan_of(read_file(pictures))
    message = str(error.value)
    assert message.removeprefix(f"{pictures.parent}/").startswith(sentence), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("threat", "line", "key"), [("patch = 3", 10, "patch"), ('norm = "l0"\neps = 2\npixels = true', 12, "pixels")], ids=["patch", "pixels"]
)
def test_vectors_have_neither(tmp_path: Path, threat: str, line: int, key: str) -> None:
    file = written(tmp_path, np.random.default_rng(0).random((12, 9), dtype=np.float32), FILE.partition("patch = 3")[0] + threat + "\n")
    with pytest.raises(BadPlan) as error:
        plan_of(read_file(file))
    assert str(error.value).endswith(f'vauban.toml:{line}: [[threat]] "sticker": {key} needs images; these inputs have shape (9,)')


def test_the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses() -> None:
    validator = Draft202012Validator(schema())
    assert list(validator.iter_errors(tomllib.loads(FILE))) == []
    assert list(validator.iter_errors(tomllib.loads(FILE.replace("patch = 3", "patch = [3, 4]")))) == []
    for bad in ("patch = 0", "patch = 2.5", "patch = [1]", 'patch = "3"'):
        assert list(validator.iter_errors(tomllib.loads(FILE.replace("patch = 3", bad)))), bad
