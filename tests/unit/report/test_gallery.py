"""The gallery: files are checked as they are read, and pictures show what the arrays hold."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vauban.campaign.cards import ThreatCard
from vauban.errors import BadRun
from vauban.report.gallery import Gallery, examples, is_image
from vauban.report.numbers import unit

CLASSES = ("a", "b", "c")


def picture(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_what_is_written_is_read_back(tmp_path, gallery_arrays):
    Gallery(**gallery_arrays()).write(tmp_path / "gallery" / "insider.npz")
    back = Gallery.read(tmp_path / "gallery" / "insider.npz")
    assert len(back) == 4
    for name, array in gallery_arrays().items():
        np.testing.assert_array_equal(getattr(back, name), array)


def test_a_grey_picture_shows_the_clean_input_level_by_level(gallery_arrays):
    arrays = gallery_arrays()
    example = examples(Gallery(**arrays), CLASSES, (0.0, 1.0))[2]
    np.testing.assert_array_equal(picture(example.clean), np.round(arrays["clean"][2, 0].astype(np.float64) * 255).astype(np.uint8))
    np.testing.assert_array_equal(
        picture(example.adversarial), np.round(arrays["adversarial"][2, 0].astype(np.float64) * 255).astype(np.uint8)
    )


def test_the_box_is_shown_from_black_to_white(gallery_arrays):
    arrays = gallery_arrays(1, (3, 4, 4))
    arrays["clean"][0, :, 0, 0], arrays["clean"][0, :, 1, 1] = -1.0, 1.0
    shown = picture(examples(Gallery(**arrays), CLASSES, (-1.0, 1.0))[0].clean)
    assert shown.shape == (4, 4, 3)
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[1, 1].tolist() == [255, 255, 255]


def test_no_change_is_white_and_the_largest_change_is_strongest(gallery_arrays):
    arrays = gallery_arrays(1)
    arrays["adversarial"] = arrays["clean"].copy()
    arrays["adversarial"][0, 0, 2, 3] += 0.25
    arrays["adversarial"][0, 0, 5, 5] -= 0.125
    example = examples(Gallery(**arrays), CLASSES, (0.0, 1.0))[0]
    shown = picture(example.difference).astype(int)
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[2, 3].sum() == shown.sum(-1).min()
    assert shown[2, 3].tolist() == [194, 92, 0]
    assert shown[5, 5, 2] > shown[5, 5, 0]
    assert example.amplified == "× 4"


def test_an_untouched_input_has_no_amplification(gallery_arrays):
    arrays = gallery_arrays(1)
    arrays["adversarial"] = arrays["clean"]
    assert examples(Gallery(**arrays), CLASSES, (0.0, 1.0))[0].amplified == "no change"


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_a_vector_lists_its_largest_changes_first(seed):
    random = np.random.default_rng(seed)
    clean = random.random((1, 20)).astype(np.float32)
    adversarial = np.where(random.random((1, 20)) < 0.6, clean, random.random((1, 20))).astype(np.float32)
    one = np.zeros(1, int)
    gallery = Gallery(clean, adversarial, one, one, one, *[np.ones(1)] * 3, one, np.array(["x"]))
    (example,) = examples(gallery, CLASSES, (0.0, 1.0))
    change = np.abs(adversarial.astype(np.float64) - clean)[0]
    listed = [int(c.feature) for c in example.changes]
    assert np.all(np.diff(change[listed]) <= 0)
    assert len(listed) + example.untold == np.count_nonzero(change)
    if listed:
        assert change[listed[-1]] >= np.delete(change, listed).max()


def test_answers_name_their_class_and_confidence_where_there_is_one(gallery_arrays):
    example = examples(Gallery(**gallery_arrays()), ("a", "b"), (0.0, 1.0))[1]
    assert example.before == "b (73%)"
    assert example.after == "class 2"


def test_only_so_many_are_shown(gallery_arrays):
    assert len(examples(Gallery(**gallery_arrays(20)), CLASSES, (0.0, 1.0), most=5)) == 5


def test_only_pictures_are_drawn():
    assert is_image((1, 8, 8))
    assert is_image((3, 32, 32))
    assert not any(is_image(shape) for shape in ((4, 8, 8), (8, 8), (30,), (3, 1, 8)))


def test_a_broken_file_is_one_clear_error(tmp_path, gallery_arrays):
    path = tmp_path / "g.npz"
    with pytest.raises(BadRun, match="no gallery can be read"):
        Gallery.read(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(BadRun, match="no gallery can be read"):
        Gallery.read(path)
    arrays = gallery_arrays()
    np.savez(path, **{k: v for k, v in arrays.items() if k != "label"})
    with pytest.raises(BadRun, match="lacks label"):
        Gallery.read(path)
    np.savez(path, **(arrays | {"label": np.arange(3)}))
    with pytest.raises(BadRun, match="disagree"):
        Gallery.read(path)
    np.savez(path, **(arrays | {"attack": np.array([object()] * 4, dtype=object)}))
    with pytest.raises(BadRun, match="no gallery can be read"):
        Gallery.read(path)


def test_sizes_in_pixels_say_so(gallery_arrays):
    arrays = gallery_arrays(3)
    arrays["distance"] = np.array([1.0, 4.0, 2.5])
    gallery = Gallery(**arrays)
    assert [e.distance for e in examples(gallery, CLASSES, (0.0, 1.0), unit="pixel")] == ["1 pixel", "4 pixels", "2.5 pixels"]
    assert [e.distance for e in examples(gallery, CLASSES, (0.0, 1.0))] == ["1", "4", "2.5"]
    cards = [ThreatCard("t", "", "score", kind, 4.0, "any wrong class") for kind in ("patch", "pixels", "l0", "linf")]
    assert [unit(card) for card in cards] == ["pixel", "pixel", "", ""]
