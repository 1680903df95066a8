"""Image folders: the pixels and labels that were saved, and every refusal."""

import numpy as np
import pytest
from PIL import Image

from vauban.data import load_data
from vauban.errors import BadData

RNG = np.random.default_rng(0)


def put(folder, name, size=(6, 5, 3), mode=None):
    """Write an image of (height, width, channels) and give its pixels."""
    pixels = RNG.integers(0, 256, size, dtype=np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels if size[-1] != 1 else pixels[..., 0], mode).save(path)
    return pixels


@pytest.fixture
def pets(tmp_path):
    return tmp_path / "pets", [put(tmp_path / "pets", f"{c}/{i}.png") for c in ("cat", "dog") for i in range(3)]


def test_pixels_classes_and_order_are_those_of_the_folder(pets):
    folder, pixels = pets
    (folder / "cat" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    rows = load_data("pets", base=folder.parent)
    np.testing.assert_array_equal(rows.x.numpy(), np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert (rows.classes, rows.y.tolist(), rows.kind, rows.lo, rows.hi, rows.name) == (
        ("cat", "dog"),
        [0, 0, 0, 1, 1, 1],
        "image",
        0,
        1,
        "pets",
    )


def test_a_sample_reads_only_what_it_takes(pets):
    folder, pixels = pets
    rows = load_data("pets", base=folder.parent, rows=2)
    for x, i in zip(rows.x, rows.ids.tolist(), strict=True):
        np.testing.assert_array_equal(x.numpy(), pixels[i].transpose(2, 0, 1).astype(np.float32) / 255)
    missing = next(i for i in range(6) if i not in rows.ids.tolist())
    (folder / ("cat", "dog")[missing // 3] / f"{missing % 3}.png").write_bytes(b"")
    assert len(load_data("pets", base=folder.parent, rows=2)) == 2


def test_grey_images_have_one_channel_and_are_widened_beside_colour(tmp_path):
    grey = put(tmp_path / "g", "a/0.png", (6, 5, 1))
    rows = load_data("g", base=tmp_path)
    assert rows.shape == (1, 6, 5)
    put(tmp_path / "g", "a/1.png")
    rows = load_data("g", base=tmp_path)
    assert rows.shape == (3, 6, 5)
    np.testing.assert_array_equal(rows.x[0].numpy(), np.repeat(grey, 3, 2).transpose(2, 0, 1).astype(np.float32) / 255)


def test_classes_may_be_ordered_and_splits_chosen(pets):
    folder, _ = pets
    assert load_data("pets", base=folder.parent, classes=["dog", "cat"]).y.tolist() == [1, 1, 1, 0, 0, 0]
    put(folder.parent / "all", "test/a/0.png")
    put(folder.parent / "all", "train/a/0.png")
    put(folder.parent / "all", "train/b/0.png")
    assert load_data("all", base=folder.parent, split="train").classes == ("a", "b")
    with pytest.raises(BadData, match="no folder for split 'tset'; did you mean 'test'"):
        load_data("all", base=folder.parent, split="tset")


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path):
    pixels = RNG.integers(0, 255, (6, 5, 4), dtype=np.uint8)
    (tmp_path / "p" / "a").mkdir(parents=True)
    Image.fromarray(np.where(np.arange(4) == 3, 255, pixels).astype(np.uint8)).save(tmp_path / "p" / "a" / "0.png")
    np.testing.assert_array_equal(load_data("p", base=tmp_path).x[0].numpy(), pixels[..., :3].transpose(2, 0, 1).astype(np.float32) / 255)
    Image.fromarray(pixels).save(tmp_path / "p" / "a" / "1.png")
    with pytest.raises(BadData, match=r"p: a/1.png is partly transparent"):
        load_data("p", base=tmp_path)


def test_folders_that_cannot_be_judged_are_told_in_one_sentence(pets):
    folder, _ = pets
    base = folder.parent
    put(folder, "dog/odd.png", (6, 7, 3))
    with pytest.raises(BadData, match=r"pets: dog/odd.png is 7 x 6 and cat/0.png is 5 x 6; all images must have one size"):
        load_data("pets", base=base)
    (folder / "dog" / "odd.png").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"pets: dog/odd.png cannot be read as an image"):
        load_data("pets", base=base)
    (folder / "dog" / "odd.png").write_bytes((folder / "dog" / "0.png").read_bytes()[:60])
    with pytest.raises(BadData, match=r"pets: dog/odd.png cannot be read as an image"):
        load_data("pets", base=base)
    Image.fromarray(np.zeros((6, 5), np.uint16)).save(folder / "dog" / "odd.png")
    with pytest.raises(BadData, match=r"dog/odd.png has mode I;16; Vauban reads 8-bit grey and colour"):
        load_data("pets", base=base)
    (folder / "dog" / "odd.png").unlink()
    (folder / "eel").mkdir()
    with pytest.raises(BadData, match="pets: no row of class 'eel'; add some"):
        load_data("pets", base=base)
    with pytest.raises(BadData, match="a folder of images has no column 'skin' for group"):
        load_data("pets", base=base, group="skin")
    (base / "flat").mkdir()
    with pytest.raises(BadData, match="flat: no sub-folders; put the images of each class"):
        load_data("flat", base=base)
    (base / "bare" / "a").mkdir(parents=True)
    with pytest.raises(BadData, match="bare: no rows"):
        load_data("bare", base=base)
