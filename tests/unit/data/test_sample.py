"""A sample of rows: uniform, without replacement, ascending, the same tomorrow, and honest about what it misses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vauban.data import load_data
from vauban.data.load import chosen
from vauban.errors import BadData

X = np.linspace(0, 1, 200).reshape(100, 2)
Y = np.array([0] * 98 + [1] * 2)


@given(st.integers(1, 60), st.integers(0, 2**40), st.data())
def test_a_sample_has_distinct_places_ascending_and_a_larger_one_holds_the_smaller(n, seed, data):
    rows = data.draw(st.integers(1, n))
    ids = np.arange(n) * 3
    places = chosen(ids, rows, seed, "d")
    assert len(set(places.tolist())) == rows and (np.diff(ids[places]) > 0).all()
    assert set(chosen(ids, max(rows - 1, 1), seed, "d").tolist()) <= set(places.tolist())


def test_which_rows_are_taken_depends_on_their_ids_and_not_on_what_else_there_is():
    even = np.arange(0, 100, 2)
    whole = set(chosen(np.arange(100), 30, 0, "d").tolist()) & set(even.tolist())
    assert set(even[chosen(even, len(whole), 0, "d")].tolist()) == whole


def test_each_row_is_as_likely_as_any_other():
    count = np.zeros(20)
    for seed in range(2000):
        count[chosen(np.arange(20), 5, seed, "d")] += 1
    spread = np.sqrt(2000 * 0.25 * 0.75)
    assert (abs(count - 500) < 4.5 * spread).all()


def test_the_sample_keeps_ids_so_that_runs_pair():
    rows = load_data((X, Y), rows=10, seed=3)
    assert torch.equal(rows.ids, load_data((X, Y), rows=10, seed=3).ids) and not torch.equal(
        rows.ids, load_data((X, Y), rows=10, seed=4).ids
    )
    torch.testing.assert_close(rows.x, torch.from_numpy(X[rows.ids.numpy()]).float())
    again = load_data(rows, rows=5, seed=3)
    assert set(again.ids.tolist()) <= set(rows.ids.tolist())


def test_rows_follow_their_ids_and_not_the_order_of_the_source():
    order = np.random.default_rng(0).permutation(100)
    turned = load_data({"x": X[order], "y": Y[order], "ids": order}, rows=10)
    straight = load_data((X, Y), rows=10)
    assert torch.equal(turned.ids, straight.ids) and torch.equal(turned.x, straight.x) and torch.equal(turned.y, straight.y)


def test_a_class_that_the_sample_misses_is_noted_and_allowed():
    rows = load_data((X, Y), rows=5, seed=1, classes=["live", "spoof"])
    assert rows.notes == ("the sample of 5 rows has none of class 'spoof' (2 of 100 rows); take more rows to speak of it",)
    assert rows.classes == ("live", "spoof")
    assert load_data(rows).classes == ("live", "spoof")  # it was checked with all its rows
    assert load_data((X, Y), rows=100, classes=["live", "spoof"]).notes == ()


def test_a_number_without_rows_is_no_fault_where_nobody_named_it():
    assert load_data((X, Y * 2)).classes == ("0", "1", "2")


@pytest.mark.parametrize("names", [("3", "5"), ("5", "3"), (5, 3)])
def test_numbers_written_among_the_classes_are_looked_up(names):
    rows = load_data((X, np.where(Y == 1, 5, 3)), classes=names)
    assert rows.classes == tuple(map(str, names))
    assert [rows.classes[i] for i in rows.y.tolist()] == [str(v) for v in np.where(Y == 1, 5, 3)]


def test_labels_of_text_are_sorted_unless_the_classes_order_them():
    words = np.array(["dog", "cat"])[Y]
    assert load_data((X, words)).classes == ("cat", "dog")
    turned = load_data((X, words), classes=["dog", "cat"])
    assert turned.classes == ("dog", "cat") and turned.y.tolist() == Y.tolist()


@pytest.mark.parametrize("y", [Y.astype(float), Y.astype(bool), Y[:, None], Y.astype(np.uint8), Y.tolist()])
def test_labels_of_any_whole_type_are_indices(y):
    assert load_data((X, y)).y.tolist() == Y.tolist()


def test_ready_rows_keep_their_indices_even_where_the_names_are_numbers():
    rows = load_data((X, Y), classes=["1", "0"])
    assert torch.equal(load_data(rows).y, rows.y)


def test_more_rows_than_there_are_is_an_error():
    with pytest.raises(BadData, match="rows = 101 must be from 1 to 100, the number of rows there are"):
        load_data((X, Y), rows=101)
