"""Archives: which arrays are found, how images lie, what range they have, and every refusal."""

import hashlib

import numpy as np
import pytest
import torch

from vauban.data import Rows, fingerprint, load_data
from vauban.errors import BadData

RNG = np.random.default_rng(0)
X, Y = RNG.random((12, 5)), np.arange(12) % 3


def npz(folder, **arrays):
    np.savez(folder / "d.npz", **arrays)
    return folder


def test_vectors_come_back_as_they_were_saved(tmp_path):
    rows = load_data("d.npz", base=npz(tmp_path, x=X, y=Y))
    assert rows.x.dtype == torch.float32 and rows.y.dtype == rows.ids.dtype == torch.int64
    np.testing.assert_array_equal(rows.x.numpy(), X.astype(np.float32))
    assert rows.y.tolist() == Y.tolist() and rows.ids.tolist() == list(range(12))
    assert (rows.classes, rows.kind, rows.lo, rows.hi, rows.name) == (("0", "1", "2"), "vector", 0.0, 1.0, "d.npz")
    assert (rows.groups, rows.group_column, rows.shape, len(rows), rows.notes) == (None, "", (5,), 12, ())


@pytest.mark.parametrize("names", [("x_test", "y_test"), ("images", "labels"), ("X", "Y"), ("data", "target"), ("inputs", "targets")])
def test_the_usual_names_of_arrays_are_found(tmp_path, names):
    rows = load_data("d.npz", base=npz(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    assert len(rows) == 12


def test_arrays_may_be_named_and_splits_chosen(tmp_path):
    folder = npz(tmp_path, x=X, y=Y, a=X[:4], b=Y[:4], x_val=X[:6], y_val=Y[:6], test_images=X[:8], test_labels=Y[:8])
    assert [len(load_data("d.npz", base=folder, **k)) for k in ({}, {"x": "a", "y": "b"}, {"split": "val"}, {"split": "test"})] == [
        12,
        4,
        6,
        8,
    ]
    with pytest.raises(BadData, match=r"no array 'c'; it holds x, y, a, b, .*: say x = one of them"):
        load_data("d.npz", base=folder, x="c")
    with pytest.raises(BadData, match="no array 'x' for split 'dev'"):
        load_data("d.npz", base=folder, split="dev")


def test_groups_and_class_names_are_read(tmp_path):
    folder = npz(tmp_path, x=X, y=Y, skin=np.array(list("aabb") * 3), classes=np.array(["cat", "dog", "eel"]))
    rows = load_data("d.npz", base=folder, group="skin")
    assert (rows.groups, rows.group_column, rows.classes) == (tuple("aabb" * 3), "skin", ("cat", "dog", "eel"))
    with pytest.raises(BadData, match="no array 'skim' for group; did you mean 'skin'"):
        load_data("d.npz", base=folder, group="skim")


@pytest.mark.parametrize(
    ("shape", "axes"), [((12, 6, 5, 3), (0, 3, 1, 2)), ((12, 3, 6, 5), None), ((12, 6, 5, 1), (0, 3, 1, 2)), ((12, 1, 6, 5), None)]
)
def test_eight_bit_images_become_channels_first_in_the_unit_range(tmp_path, shape, axes):
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    rows = load_data("d.npz", base=npz(tmp_path, x=x, y=Y))
    truth = (x if axes is None else x.transpose(axes)).astype(np.float32) / 255
    np.testing.assert_array_equal(rows.x.numpy(), truth)
    assert rows.kind == "image" and (rows.lo, rows.hi) == (0.0, 1.0) and rows.x.is_contiguous()


def test_eight_bit_images_stay_as_they_are_under_bounds_of_255(tmp_path):
    x = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)
    folder = npz(tmp_path, x=x, y=Y)
    rows = load_data("d.npz", base=folder, lo=0, hi=255)
    np.testing.assert_array_equal(rows.x.numpy(), x[:, None])
    assert rows.hi == 255.0 and rows.shape == (1, 6, 5)
    with pytest.raises(BadData, match=r"bounds = \[-1, 1\] for 8-bit images; say \[0, 1\] to scale them, or \[0, 255\]"):
        load_data("d.npz", base=folder, lo=-1, hi=1)


@pytest.mark.parametrize(
    ("shape", "layout", "want", "kind"),
    [
        ((12, 8, 8), "auto", (1, 8, 8), "image"),
        ((12, 2, 9), "auto", (2, 9), "series"),
        ((12, 8, 8), "series", (8, 8), "series"),
        ((12, 3, 4, 3), "chw", (3, 4, 3), "image"),
        ((12, 3, 4, 3), "hwc", (3, 3, 4), "image"),
        ((12, 4, 6), "hw", (1, 4, 6), "image"),
        ((12, 7), "vector", (7,), "vector"),
    ],
)
def test_layouts(tmp_path, shape, layout, want, kind):
    rows = load_data((RNG.random(shape), Y), layout=layout)
    assert (rows.shape, rows.kind) == (want, kind)


def test_bounds_are_declared_or_the_unit_range_and_never_guessed():
    assert load_data((X * 9, Y), lo=-1, hi=9).hi == 9.0
    each = load_data((X * 2, Y), lo=[0] * 5, hi=[2, 2, 2, 2, 3])
    assert each.lo == (0.0,) * 5 and each.hi == (2.0, 2.0, 2.0, 2.0, 3.0)
    edge = np.full((3, 1), 0.1)
    assert load_data((edge, [0, 1, 2]), lo=0.0, hi=0.1).hi == 0.1  # float32(0.1) is above 0.1


def broken(row, column, value):
    x = X.copy()
    x[row, column] = value
    return x


SENTENCES = [
    ((broken(7, 3, np.nan), Y), {}, "^data: row 7, feature 3 is nan; inputs must be finite"),
    ((broken(7, 3, -np.inf), Y), {"lo": 0, "hi": 1}, "row 7, feature 3 is -inf"),
    ((np.where(np.arange(12).reshape(12, 1, 1) == 4, np.nan, np.ones((12, 2, 3))), Y), {}, r"row 4, feature \(0, 0\) is nan"),
    ((broken(5, 1, 1.5), Y), {"lo": 0, "hi": 1}, r"row 5, feature 1 is 1.5, outside \[0, 1\]; mend the row, or say wider bounds"),
    ((broken(5, 1, 0.9), Y), {"lo": [0] * 5, "hi": [1, 0.8, 1, 1, 1]}, r"outside \[0, 0.8\]"),
    ((broken(5, 1, -3), Y), {}, r"the inputs range from -3 to 0\.\d+, and what range is allowed is not said; say bounds = \[lo, hi\]"),
    ((X, Y), {"lo": 0}, "only one of lo and hi is given"),
    ((X, Y), {"lo": 1, "hi": 0}, r"bounds = \[1, 0\] is empty"),
    ((X, Y), {"lo": 0, "hi": [1, 1]}, "hi has 2 values for 5 features"),
    ((X, Y), {"lo": 0, "hi": float("inf")}, "hi has 1 values for 5 features; give one finite number"),
    ((X, Y[:5]), {}, "12 inputs and 5 labels; each input needs one label"),
    ((X, Y, ["a"] * 5), {}, "12 inputs and 5 groups"),
    ({"x": X, "y": Y, "ids": np.zeros(12)}, {}, "12 inputs and 1 different ids"),
    ((X[:0], Y[:0]), {}, "no rows; there is nothing to attack"),
    ((X[:, 0], Y), {}, r"inputs of shape \(12,\); each row needs at least one feature"),
    ((X[:, :0], Y), {}, r"inputs of shape \(12, 0\)"),
    ((X.astype(str), Y), {}, "inputs of type <U.*; give numbers"),
    ((X, np.eye(3)[Y]), {}, r"the labels have shape \(12, 3\); one class for each row .* for one-hot labels give y.argmax"),
    ((X, Y - 1), {}, "row 0 has label -1; classes count from 0"),
    ((X, Y + 0.5), {}, "row 0 has label 0.5, which is not a whole number"),
    ((X, np.where(Y == 1, np.nan, Y)), {}, "row 1 has label nan, which is not a whole number"),
    ((X, Y * 1_000_000), {}, "row 1 has label 1000000; is that an id, or an amount"),
    ((X, Y.astype(complex)), {}, "labels of type complex128"),
    ((X, Y), {"classes": ["a", "b"]}, "row 2 has label 2; there are 2 classes, 0 to 1"),
    ((X, Y), {"classes": ["a", "b", "c", "d", "e"]}, "no row of class 'd', 'e'; add some, or leave the class out of classes"),
    ((X, Y), {"classes": list("abcdefgh")}, "no row of class 'd', 'e', 'f' and 2 more"),
    ((X, Y), {"classes": ["a", "b", "a"]}, "class 'a' is named twice"),
    ((X, np.array(["cat", "dog", "cow"])[Y]), {"classes": ["cat", "dog"]}, "row 2 has label 'cow', which is not among the classes"),
    ((X, Y), {"rows": 13}, "rows = 13 must be from 1 to 12"),
    ((X, Y), {"rows": 0}, "rows = 0 must be from 1 to 12"),
    ((X, Y), {"layout": "chv"}, "layout = 'chv' is not a layout; did you mean 'chw'"),
    ((X, Y), {"layout": "chw"}, r"layout = 'chw' does not fit inputs of shape \(12, 5\)"),
    ((np.zeros((12, 3, 4, 3)), Y), {}, r"images of shape \(3, 4, 3\) may be channels-first or channels-last"),
    ((np.zeros((12, 1, 2, 3, 4)), Y), {}, r"inputs of shape \(12, 1, 2, 3, 4\); Vauban reads vectors"),
]


@pytest.mark.parametrize(("spec", "settings", "sentence"), SENTENCES)
def test_what_cannot_be_judged_is_told_in_one_sentence(spec, settings, sentence):
    with pytest.raises(BadData, match=sentence) as caught:
        load_data(spec, **settings)
    assert "\n" not in str(caught.value)


def test_a_bad_row_is_told_whether_it_is_sampled_or_not():
    for seed in range(3):
        with pytest.raises(BadData, match="row 7, feature 3 is nan"):
            load_data((broken(7, 3, np.nan), Y), rows=2, seed=seed)


def test_unreadable_archives_are_refused(tmp_path):
    whole = (npz(tmp_path, x=X, y=Y) / "d.npz").read_bytes()
    for content in (whole[:100], b"", b"hello"):
        (tmp_path / "d.npz").write_bytes(content)
        with pytest.raises(BadData, match=r"d.npz is not a readable .npz archive"):
            load_data("d.npz", base=tmp_path)
    np.savez(tmp_path / "d.npz", x=np.array([{}]), y=Y)
    with pytest.raises(BadData, match=r"array 'x' cannot be read .* save plain numbers, not objects"):
        load_data("d.npz", base=tmp_path)
    (tmp_path / "d.npz").write_bytes(whole[:300] + bytes(20) + whole[320:])
    with pytest.raises(BadData, match="array 'x' cannot be read"):
        load_data("d.npz", base=tmp_path)
    np.save(tmp_path / "s.npy", X)
    (tmp_path / "s.npy").rename(tmp_path / "s.npz")
    with pytest.raises(BadData, match=r"s.npz holds a single array"):
        load_data("s.npz", base=tmp_path)
    with pytest.raises(BadData, match="no such file"):
        load_data("gone.npz", base=tmp_path)
    with pytest.raises(BadData, match=r"data = 'd.txt' is no source: write"):
        load_data("d.txt", base=tmp_path)


def test_the_fingerprint_is_the_sha256_of_dtype_shape_and_bytes():
    a = np.arange(6, dtype=np.int32).reshape(2, 3)
    truth = hashlib.sha256(b"<i4(2, 3)" + a.tobytes()).hexdigest()
    assert fingerprint(a) == fingerprint(torch.from_numpy(a)) == fingerprint(a.astype(">i4")) == fingerprint(np.asfortranarray(a)) == truth
    assert len({fingerprint(a), fingerprint(a.T), fingerprint(a.astype(np.int64)), fingerprint(a, a), fingerprint(a + 1)}) == 5


def test_rows_have_a_fingerprint_of_their_own_and_can_be_taken():
    rows = load_data((X, Y, list("ab") * 6), rows=9)
    part = rows.take(torch.tensor([0, 4]))
    assert isinstance(part, Rows) and torch.equal(part.x, rows.x[[0, 4]]) and part.ids.tolist() == rows.ids[[0, 4]].tolist()
    assert part.groups == (rows.groups[0], rows.groups[4]) and rows.take(rows.y == 1).y.unique().tolist() == [1]
    assert len({rows.sha256, part.sha256}) == 2 and rows.sha256 == load_data((X, Y, list("ab") * 6), rows=9).sha256
