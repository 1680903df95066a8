"""CSV and Parquet: columns, labels, groups, splits, and every refusal."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from vauban.data import load_data
from vauban.errors import BadData

CSV = """age,income,member,city,label,split
30,1000.5,true,rome,fraud,train
40,2000.25,false,oslo,fine,test
50,-3,true,rome,fine,test
"""
BOUNDS = {"lo": [0, -10, 0], "hi": [100, 9999, 1]}


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path):
    """Writes the text as a table and gives a loader of it."""

    def load(text=CSV, **settings):
        if request.param == "csv":
            (tmp_path / "t.csv").write_text(text)
        else:
            pyarrow.parquet.write_table(pa.csv.read_csv(pa.BufferReader(text.encode())), tmp_path / "t.parquet")
        return load_data(f"t.{request.param}", base=tmp_path, **settings)

    return load


def test_all_numeric_columns_are_features_and_text_maps_to_sorted_classes(table):
    rows = table(group="city", split="test", **BOUNDS)
    assert rows.x.tolist() == [[40, 2000.25, 0], [50, -3, 1]] and rows.features == ("age", "income", "member")
    assert (rows.groups, rows.group_column, rows.classes) == (("oslo", "rome"), "city", ("fine",))
    assert rows.ids.tolist() == [1, 2] and rows.kind == "vector" and rows.hi == (100.0, 9999.0, 1.0)


def test_classes_are_ordered_as_said(table):
    text = CSV.replace(",split", "").replace(",train", "").replace(",test", "")
    assert table(text, group="city", classes=["fraud", "fine"], **BOUNDS).y.tolist() == [0, 1, 1]
    assert table(text, group="city", **BOUNDS).y.tolist() == [1, 0, 0]


def test_numbers_may_be_labels(table):
    rows = table("a,b,kind\n1,2,0\n3,4,2\n", label="kind", lo=0, hi=4)
    assert rows.y.tolist() == [0, 2] and rows.x.tolist() == [[1, 2], [3, 4]]


SENTENCES = [
    (CSV, {}, "column 'city' is not numeric .row 0 has 'rome'.; encode it as numbers, leave it out, or name it as group"),
    ("a,label\n0.1,x\n0.2,y\n", {}, r"the inputs range from 0.1 to 0.2, and what range is allowed is not said; say bounds = \[lo, hi\]"),
    ("a,b,label\n1,2,x\n3,,y\n", {}, "row 1, column 'b' is missing"),
    ("a,b,label\n1,2,x\n3,4,\n5,6,\n", {"label": "b", "group": "label", "lo": 0, "hi": 9}, "row 1, column 'label' is missing"),
    ("a,b,label\n1,2,1\n3,4,\n", {"lo": 0, "hi": 9}, "row 1, column 'label' is missing"),
    ("a,b,label\n1,,x\n3,,y\n", {"lo": 0, "hi": 9}, "column 'b' is empty; leave it out"),
    ("a,b\n1,2\n", {}, "which column is the label. Say label = one of a, b"),
    (CSV, {"label": "lable"}, "no column 'lable' for label; did you mean 'label'"),
    (CSV, {"group": "citty"}, "no column 'citty' for group; did you mean 'city'"),
    (CSV, {"split": "tets"}, "no row has split 'tets'; did you mean 'test'"),
    ("a,label\n1,0\n", {"split": "test"}, "split = 'test' needs a column called \"split\""),
    ("label\n1\n", {}, "no column is left for features beside the label 'label'"),
    ("a,b,label\n1,2,x\n3,400,y\n", {"lo": 0, "hi": 9}, r"row 1, column 'b' is 400, outside \[0, 9\]"),
    ("a,b,label\n1,nan,x\n3,4,y\n", {"lo": 0, "hi": 9}, "row 0, column 'b' is missing"),
    ("a,b,label\n1,2,x\n3,inf,y\n", {"lo": 0, "hi": 9}, "row 1, column 'b' is inf; inputs must be finite"),
    ("a,b,label\n", {"lo": 0, "hi": 9}, "no rows; there is nothing to attack"),
]


@pytest.mark.parametrize(("text", "settings", "sentence"), SENTENCES)
def test_tables_that_cannot_be_judged_are_told_in_one_sentence(table, text, settings, sentence):
    with pytest.raises(BadData, match=sentence) as caught:
        table(text, **settings)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("t.")


def test_unreadable_tables_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no table")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "twice.csv").write_text("a,a,label\n1,2,3\n")
    for name in ("t.csv", "t.parquet", "empty.csv"):
        with pytest.raises(BadData, match=f"{name} cannot be read as a table"):
            load_data(name, base=tmp_path)
    with pytest.raises(BadData, match="two columns are called 'a'"):
        load_data("twice.csv", base=tmp_path)
