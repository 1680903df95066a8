"""The published JSON Schema is fresh, accepts what the reader accepts, and refuses what it refuses."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from vauban.campaign.file import outputs
from vauban.campaign.file.schema import schema, text
from vauban.cli.template import Answers, campaign_text
from vauban.target.outputs import KINDS

PUBLISHED = Path(__file__).parents[3] / "docs" / "schema" / "vauban.schema.json"


def test_the_published_schema_is_fresh() -> None:
    """`python -m vauban.campaign.file.schema > docs/schema/vauban.schema.json` makes it so."""
    assert PUBLISHED.read_text() == text()


def test_the_schema_is_a_schema_and_every_key_is_described() -> None:
    Draft202012Validator.check_schema(schema())
    tables = [schema(), *schema()["$defs"].values()]
    bare = [k for t in tables for k, v in t.get("properties", {}).items() if "description" not in v and "$ref" not in v]
    assert bare == []


def test_what_init_writes_and_what_the_reader_takes_is_valid(good: str) -> None:
    validator = Draft202012Validator(schema())
    for example in (
        good,
        campaign_text(Answers("m.py:build", "d.npz")),
        campaign_text(Answers("m.onnx", "d.csv", goal="a,b->3", bounds="0,255")),
    ):
        assert list(validator.iter_errors(tomllib.loads(example))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 3", "sed = 3"),
        ("0.45", "45"),
        ('eps = "8/255"', 'eps = "eight"'),
        ('norm = "l2"', 'norm = "l3"'),
        ('"insider" = {', '"insider" = { x = 1,'),
        ('goal = { wanted = "live", from = ["spoof"] }', 'goal = "live"'),
        ("chunk = 20", "chunk = 0"),
        ("bounds = [0, 1]", "bounds = [0]"),
    ],
)
def test_what_the_reader_refuses_is_invalid(good: str, old: str, new: str) -> None:
    assert list(Draft202012Validator(schema()).iter_errors(tomllib.loads(good.replace(old, new, 1))))


def test_the_schema_is_json_without_surprises() -> None:
    assert json.loads(text())["title"] == "vauban.toml"
    assert "null" not in text()


def test_the_outputs_that_are_listed_are_those_that_are_known() -> None:
    assert set(outputs.OUTPUTS) == {"auto", *KINDS}
