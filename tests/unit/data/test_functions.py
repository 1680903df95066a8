"""Data from a function or a value: what it may return, and how its errors are told."""

import numpy as np
import pytest
import torch

from vauban.data import load_data
from vauban.errors import BadData

CODE = """
import numpy as np
import torch
from vauban.data import Rows

X, Y = np.linspace(0, 1, 12).reshape(6, 2), np.arange(6) % 2

def pair(): return X, Y
def tensors(): return torch.from_numpy(X), torch.from_numpy(Y)
def half(): return torch.from_numpy(X).bfloat16(), torch.from_numpy(Y)
def lists(): return X.tolist(), Y.tolist()
def triple(): return X, Y, list("aabbcc")
def named(): return {"x": X * 9, "y": Y, "groups": [1, 1, 2, 2, 3, 3], "group_column": "site", "classes": ["no", "yes"], "lo": 0, "hi": 9,
                     "features": ["width", "height"], "name": "sites"}
def rows(): return Rows(torch.from_numpy(X).float() * 5, torch.from_numpy(Y), ("no", "yes"), torch.arange(6) + 10, "mine", 0.0, 5.0)
def parts(split="test"): return (X, Y) if split == "test" else (X[:2], Y[:2])
value = (X, Y)
def typo(): return {"x": X, "y": Y, "gruops": 1}
def lonely(): return {"x": X}
def single(): return X
def four(): return X, Y, X, Y
def ragged(): return [[1, 2], [3]], [0, 1]
def fails(): return X + missing
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "d.py").write_text(CODE)
    return tmp_path


@pytest.mark.parametrize("name", ["pair", "tensors", "lists", "triple", "parts", "value"])
def test_numpy_torch_lists_and_values_give_the_same_rows(base, name):
    rows = load_data(f"d.py:{name}", base=base)
    assert rows.y.tolist() == [0, 1] * 3 and rows.shape == (2,) and (rows.lo, rows.hi) == (0.0, 1.0)
    np.testing.assert_allclose(rows.x.numpy().ravel(), np.linspace(0, 1, 12), rtol=1e-6)
    assert rows.groups == (tuple("aabbcc") if name == "triple" else None) and rows.group_column == ("group" if name == "triple" else "")


def test_short_floats_are_widened(base):
    assert load_data("d.py:half", base=base).x.dtype == torch.float32


def test_a_mapping_says_everything_it_knows(base):
    rows = load_data("d.py:named", base=base)
    assert (rows.lo, rows.hi, rows.name, rows.classes) == (0.0, 9.0, "sites", ("no", "yes"))
    assert (rows.groups, rows.group_column, rows.features) == (("1", "1", "2", "2", "3", "3"), "site", ("width", "height"))
    with pytest.raises(BadData, match=r"row 1, column 'height' is 2\.45\d*, outside \[0, 2\]"):
        load_data("d.py:named", base=base, lo=0, hi=2)


def test_rows_pass_with_their_ids_names_and_bounds(base):
    rows = load_data("d.py:rows", base=base, rows=3)
    assert rows.name == "mine" and rows.hi == 5.0 and set(rows.ids.tolist()) <= set(range(10, 16)) and len(rows) == 3


def test_a_split_is_the_functions_to_give(base):
    assert len(load_data("d.py:parts", base=base, split="train")) == 2
    with pytest.raises(BadData, match=r"d.py:pair: split = 'train' was asked for, and the function takes no argument called split"):
        load_data("d.py:pair", base=base, split="train")


SENTENCES = [
    ("d.py:typo", "unknown key 'gruops'; did you mean 'groups'"),
    ("d.py:lonely", "d.py:lonely: no 'y'; it needs inputs x and labels y"),
    ("d.py:single", r"got ndarray; data are \(x, y\), \(x, y, groups\), a dict"),
    ("d.py:four", "got tuple of 4; data are"),
    ("d.py:ragged", "d.py:ragged: x is ragged: its rows have different lengths"),
    ("d.py:fails", "^d.py:23: NameError: name 'missing' is not defined$"),
    ("d.py:piar", "d.py has no 'piar'; did you mean 'pair'"),
    ("e.py:pair", "no such file"),
]


@pytest.mark.parametrize(("spec", "sentence"), SENTENCES)
def test_what_a_function_does_wrong_is_told_in_one_sentence(base, spec, sentence):
    with pytest.raises(BadData, match=sentence) as caught:
        load_data(spec, base=base)
    assert "\n" not in str(caught.value)
