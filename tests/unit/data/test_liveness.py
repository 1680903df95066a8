"""Synthetic faces: the same for the same seed and index, balanced, apart by identity, and told from live by no plain statistic."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vauban.data import liveness as module
from vauban.data import load_data
from vauban.data.liveness import SPECIES, SPLITS, identity, synthetic_faces, write_images
from vauban.data.liveness_camera import compressed, cosines
from vauban.errors import BadData

torch.set_num_threads(1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(list(SPLITS)), st.integers(1, 40), st.sampled_from([16, 20, 32]))
def test_a_picture_depends_on_seed_split_and_index_alone(seed: int, split: str, rows: int, size: int) -> None:
    few, more = synthetic_faces(split, rows, size, seed), synthetic_faces(split, rows + 7, size, seed)
    assert torch.equal(few.x, more.x[:rows]) and few.groups == (more.groups or ())[:rows]


def test_how_many_are_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = synthetic_faces(rows=40)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    assert torch.equal(synthetic_faces(rows=40).x, whole.x)


def test_another_seed_and_another_split_are_other_pictures() -> None:
    here = synthetic_faces(rows=12).x
    for other in (synthetic_faces(rows=12, seed=1).x, synthetic_faces("train", rows=12).x):
        assert ((here - other).abs().mean((1, 2, 3)) > 0.02).all()


@pytest.mark.parametrize("size", [16, 33, 112])
def test_pictures_are_what_a_camera_stores(size: int) -> None:
    rows = synthetic_faces(rows=12, size=size)
    assert rows.x.shape == (12, 3, size, size) and rows.x.dtype == torch.float32
    assert rows.x.min() >= 0 and rows.x.max() <= 1
    assert torch.equal((rows.x * 255).round() / 255, rows.x)


@given(st.integers(1, 10), st.permutations(SPECIES), st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_live_and_spoof_and_the_species_are_balanced(times: int, order: list[str], kinds: int) -> None:
    species = order[:kinds]
    rows = synthetic_faces(rows=2 * kinds * times, size=16, species=species)
    groups = list(rows.groups or ())
    assert groups.count("live") == kinds * times and all(groups.count(s) == times for s in species)
    assert [rows.classes[y] for y in rows.y.tolist()] == ["live" if g == "live" else "spoof" for g in groups]


def test_no_person_is_in_two_splits_and_everybody_is_live_as_often_as_spoofed() -> None:
    people = {split: identity(torch.arange(3000), split) for split in SPLITS}
    sets = [set(p.tolist()) for p in people.values()]
    assert all(a.isdisjoint(b) for i, a in enumerate(sets) for b in sets[i + 1 :])
    rows = synthetic_faces(rows=30)
    for person in identity(rows.ids, "test").unique():
        own = rows.y[identity(rows.ids, "test") == person]
        assert (own == 0).sum() == (own == 1).sum() == len(SPECIES)


def test_the_data_say_that_they_are_synthetic() -> None:
    rows = synthetic_faces(rows=6)
    assert "synthetic" in rows.name and "synthetic" in rows.notes[0] and "no evidence" in (synthetic_faces.__doc__ or "")
    assert load_data(rows).name == rows.name


def test_a_linear_model_on_mean_colours_learns_nothing() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    train, test = synthetic_faces("train", rows=600), synthetic_faces("test", rows=300)
    fitted = linear.LogisticRegression(C=100).fit(train.x.mean((2, 3)).numpy(), train.y)
    assert fitted.score(test.x.mean((2, 3)).numpy(), test.y) < 0.6


def test_prints_and_screens_have_finer_structure_than_faces() -> None:
    rows = synthetic_faces(rows=240)
    fine = (rows.x - torch.nn.functional.avg_pool2d(rows.x, 3, 1, 1)).abs()[:, :, 2:-2, 2:-2].mean((1, 2, 3))
    groups = np.array(rows.groups)
    live, printed, replayed = (float(fine[torch.from_numpy(groups == g)].median()) for g in ("live", "print", "replay"))
    assert printed > 1.2 * live and replayed > 1.2 * live


def test_weaker_cues_leave_less_to_see() -> None:
    """The same captures with their cues at 0, 0.5 and 1: what the instrument adds grows."""
    plain, half, full = (synthetic_faces(rows=60, cues=(c, c)).x for c in (0.0, 0.5, 1.0))
    spoofs = synthetic_faces(rows=60).y == 1
    assert torch.equal(plain[~spoofs], full[~spoofs])
    assert (half - plain)[spoofs].abs().mean() < (full - plain)[spoofs].abs().mean()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"split": "tset"}, "did you mean 'test'"),
        ({"species": ["prin"]}, "did you mean 'print'"),
        ({"species": []}, "at least one instrument"),
        ({"species": ["print", "print"]}, "each once"),
        ({"size": 8}, "from 16 to 224"),
        ({"rows": 0}, "rows = 0"),
        ({"cues": (1.0, 0.5)}, "the smaller first"),
    ],
)
def test_what_cannot_be_drawn_is_refused(bad: dict[str, object], says: str) -> None:
    with pytest.raises(BadData, match=says):
        synthetic_faces(**bad)  # type: ignore[arg-type]


def test_a_campaign_file_may_name_the_generator(tmp_path: Path) -> None:
    rows = load_data("vauban.data.liveness:synthetic_faces", base=tmp_path, split="calibration", rows=12)
    whole = synthetic_faces("calibration")
    assert torch.equal(rows.x, whole.x[rows.ids]) and rows.group_column == "species"


def test_a_folder_of_the_pictures_holds_the_same_pictures(tmp_path: Path) -> None:
    rows = synthetic_faces(rows=18)
    files = write_images(rows, tmp_path / "faces")
    back = load_data("faces", base=tmp_path)
    order = sorted(range(len(files)), key=lambda i: (files[i].parent.name, files[i].name))
    assert torch.equal(back.x, rows.x[order]) and torch.equal(back.y, rows.y[order]) and back.classes == rows.classes
    with pytest.raises(BadData, match="holds something already"):
        write_images(rows, tmp_path / "faces")


def test_only_pictures_are_written(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="only grey and colour images"):
        write_images(load_data((np.zeros((4, 3)), np.zeros(4, int))), tmp_path / "no")


def test_the_cosine_transform_is_orthonormal() -> None:
    assert torch.allclose(cosines() @ cosines().T, torch.eye(8).double(), atol=1e-12)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_compression_of_grey_pictures_is_that_of_jpeg(quality: int) -> None:
    grey = (synthetic_faces(rows=1, size=40).x[0].mean(0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    theirs = np.asarray(Image.open(file)).astype(float)
    picture = torch.from_numpy(grey).double().expand(1, 3, 40, 40) / 255
    ours = compressed(picture, torch.tensor(float(quality)).double().view(1, 1, 1, 1))[0, 0].clamp(0, 1).numpy() * 255
    away = np.abs(ours.round() - theirs)
    assert (away <= 1).mean() > 0.95 and away.mean() < 0.4  # its transform is of whole numbers, which tips a few coefficients
