"""A campaign file about texts comes to the plan it says, and every mistake in one is a sentence that names file, line and key."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import joblib
import pyarrow as pa
import pytest
from jsonschema import Draft202012Validator
from pyarrow import parquet
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from vauban.campaign.file import plan_of, read_text
from vauban.campaign.file.guests import guests
from vauban.campaign.file.schema import schema
from vauban.campaign.file.texts import text_plan_of
from vauban.campaign.text.plan import TextPlan
from vauban.data.texts import load_texts
from vauban.doors.text import Normalised, TextFunction, TextPipeline, TextTorch
from vauban.errors import BadData, BadPlan, BadTarget, NotGranted, VaubanError
from vauban.threat import Access, Edits

GOOD = """[target]
load = "filter.py:spam"
outputs = "logits"

[data]
load = "texts.csv"
kind = "text"
text = "message"
label = "truth"
group = "team"

[[threat]]
name = "ghost"
norm = "edits"
eps = 2
families = ["homoglyph", "invisible"]
protected = "Anna"
pattern = "https?://[^ ]+"
access = "score"
goal = { wanted = "ham", from = "spam" }
queries = 50
[[threat.attack]]
name = "bad-chars"
population = 8

[promise]
ghost = { robust_accuracy = 0.5 }
"ghost, normalised" = { robust_accuracy = 0.5 }
"""
CODE = '''
import torch

from vauban.attacks.text import text_attack
from vauban.threat import Access


def spam(texts):
    return [[1.0, 2.0 * ("cash" in t)] for t in texts]


def words(texts):
    return [int("cash" in t) for t in texts]


def rows():
    return ["your cash, Anna", "see you at noon"], ["spam", "ham"]


def module():
    return torch.nn.Sequential(torch.nn.Embedding(256, 4), torch.nn.Flatten(), torch.nn.Linear(64, 2))


def encode(texts):
    return torch.tensor([list(t.encode()[:16].ljust(16)) for t in texts])


@text_attack(Access.LABEL, families=("homoglyph",), paper="this test")
def mine(row, again: int = 1):
    """Tries next to nothing."""
    yield from row.score([row.clean])
'''
LINES = [
    ("your cash, Anna", "spam", "a"),
    ('a prize, "so" they say:\ncash', "spam", "b"),
    ("see you at noon", "ham", "a"),
    ("4711", "ham", "b"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    quoted = ['"' + t.replace('"', '""') + f'",{label},{team}' for t, label, team in LINES]
    (tmp_path / "texts.csv").write_text("\n".join(["message,truth,team", *quoted]) + "\n")
    (tmp_path / "filter.py").write_text(CODE)
    return tmp_path


def planned(folder: Path, text: str = GOOD, *, trust_pickle: bool = False) -> TextPlan:
    return text_plan_of(read_text(text, folder / "vauban.toml"), trust_pickle=trust_pickle)


def test_what_is_written_is_what_is_planned(folder: Path) -> None:
    plan = planned(folder)
    assert plan.data.texts == tuple(t for t, _, _ in LINES)
    assert (plan.data.classes, plan.data.y.tolist(), plan.data.groups) == (("ham", "spam"), [1, 1, 0, 0], ("a", "b", "a", "b"))
    plain, behind = plan.sieges
    assert (plain.threat.name, behind.threat.name) == ("ghost", "ghost, normalised")
    assert plain.threat.perturbation == Edits(2, ["homoglyph", "invisible"], protected=["Anna"], pattern="https?://[^ ]+")
    assert (plain.threat.goal.wanted, plain.threat.goal.sources, plain.threat.queries) == (0, (1,), 50)
    assert [(a.name, a.settings["population"]) for a in plain.attacks] == [("bad-chars", 8)]
    assert isinstance(plan.target, TextFunction) and isinstance(plan.facing(behind.threat), Normalised)
    assert [p.threat for p in plan.promises] == ["ghost", "ghost, normalised"]
    json.dumps(plan.resolved)


@pytest.mark.parametrize(("said", "kind", "names"), [("true", Normalised, ["ghost"]), ("false", TextFunction, ["ghost"])])
def test_the_normaliser_is_part_of_the_target_or_left_out_where_the_file_says_so(
    folder: Path, said: str, kind: type, names: list[str]
) -> None:
    text = GOOD.replace('outputs = "logits"', f'outputs = "logits"\nnormalised = {said}').replace('"ghost, normalised" =', "#")
    plan = planned(folder, text)
    assert isinstance(plan.target, kind)
    assert [s.threat.name for s in plan.sieges] == names
    with pytest.raises(BadPlan, match="no threat is named 'ghost, normalised'; known names: ghost"):
        planned(folder, GOOD.replace('outputs = "logits"', f'outputs = "logits"\nnormalised = {said}'))


def test_the_same_texts_from_every_kind_of_source(folder: Path) -> None:
    columns = {"message": [t for t, _, _ in LINES], "truth": [c for _, c, _ in LINES], "team": [g for _, _, g in LINES]}
    parquet.write_table(pa.table(columns), folder / "texts.parquet")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    (folder / "texts.jsonl").write_text("\n\n".join(json.dumps(r) for r in rows))
    found = [load_texts(f"texts.{s}", base=folder, text="message", label="truth", group="team") for s in ("csv", "parquet", "jsonl")]
    assert len({(t.texts, tuple(t.y.tolist()), t.classes, t.groups, t.sha256) for t in found}) == 1
    with guests():  # the file has an attack of its own
        coded = load_texts("filter.py:rows", base=folder)
    assert coded.texts == ("your cash, Anna", "see you at noon")


def test_line_breaks_within_quotes_are_read_in_large_files_too(folder: Path) -> None:
    text = "one line\n" * 20 + "the last"
    (folder / "long.csv").write_text("text,label\n" + f'"{text}",{1}\n"{text}",0\n' * 8000)
    assert set(load_texts("long.csv", base=folder).texts) == {text}


def test_a_sample_keeps_the_row_numbers_of_the_source(folder: Path) -> None:
    part = load_texts("texts.csv", base=folder, text="message", label="truth", rows=2, seed=1)
    assert [LINES[i][0] for i in part.ids.tolist()] == list(part.texts)
    assert len(part) == 2


def test_a_pickled_pipeline_needs_trust_and_a_module_an_encoder(folder: Path) -> None:
    texts, labels = [t for t, _, _ in LINES], [c for _, c, _ in LINES]
    joblib.dump(make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels), folder / "filter.joblib")
    pickled = GOOD.replace('load = "filter.py:spam"\noutputs = "logits"', 'load = "filter.joblib"')
    with pytest.raises(BadTarget, match=r"vauban.toml:2: .*--trust-pickle"):
        planned(folder, pickled)
    assert isinstance(planned(folder, pickled, trust_pickle=True).target, TextPipeline)
    module = GOOD.replace("filter.py:spam", "filter.py:module")
    with pytest.raises(BadTarget, match=r'takes no strings; say encode = "file.py:function"'):
        planned(folder, module)
    plan = planned(folder, module.replace("[data]", 'encode = "filter.py:encode"\n[data]'))
    assert isinstance(plan.target, TextTorch) and plan.target.scores(["hello"]).shape == (1, 2)


def test_labels_suites_and_attacks_of_ones_own(folder: Path) -> None:
    text = GOOD.replace('filter.py:spam"\noutputs = "logits"', 'filter.py:words"\naccess = "label"').replace('access = "score"\n', "")
    text = text.replace('name = "bad-chars"\npopulation = 8', 'name = "filter.py:mine"\nagain = 3')
    plan = planned(folder, text)
    assert plan.sieges[0].threat.access is Access.LABEL
    assert [(a.name, dict(a.settings)) for a in plan.sieges[0].attacks] == [("mine", {"again": 3})]
    assert [a.name for a in planned(folder, text).sieges[0].attacks] == ["mine"], "a file may be read twice"
    bare = re.sub(r"\[\[threat.attack\]\]\n.*\n.*\n", "", GOOD)
    assert {a.name for a in planned(folder, bare).sieges[0].attacks} >= {"homoglyphs", "invisible", "bad-chars", "charmer"}
    few = planned(folder, bare.replace("queries = 50", 'queries = 50\nsuite = "baselines"'))
    assert [a.name for a in few.sieges[0].attacks] == ["homoglyphs", "invisible"]


def test_the_schema_takes_it(folder: Path) -> None:
    validator = Draft202012Validator(schema())
    assert list(validator.iter_errors(tomllib.loads(GOOD))) == []
    for old, new in (('"homoglyph", ', '"homoglif", '), ('norm = "edits"', 'norm = "edit"'), ('kind = "text"', 'kind = "image"')):
        assert list(validator.iter_errors(tomllib.loads(GOOD.replace(old, new))))


MISTAKES = [  # what stands in the good file, what stands there instead, the error, its sentence
    ('kind = "text"\n', "", BadPlan, '7: [data]: text is about texts, and the data are none; for texts say kind = "text" in [data]'),
    (
        'kind = "text"\ntext = "message"\n',
        "",
        BadPlan,
        '14: [[threat]] "ghost": families is about texts, and the data are none; for texts say kind = "text" in [data]',
    ),
    ('kind = "text"', 'kind = "txt"', BadPlan, "7: [data]: kind = \"txt\" should be 'text'"),
    (
        'norm = "edits"',
        'norm = "l2"',
        BadPlan,
        '14: [[threat]] "ghost": norm = \'l2\' is none of texts, which are changed by edits; say norm = "edits"',
    ),
    ('norm = "edits"\n', "", BadPlan, '12: [[threat]] "ghost": no norm is none of texts, which are changed by edits; say norm = "edits"'),
    ("eps = 2", "eps = 1.5", BadPlan, '15: [[threat]] "ghost": eps = 1.5 must be a whole number of edits, 1 or more'),
    ("eps = 2", "eps = inf", BadPlan, '15: [[threat]] "ghost": eps = inf must be a whole number of edits, 1 or more'),
    (
        '"invisible"',
        '"invisble"',
        BadPlan,
        "16: [[threat]] \"ghost\": families = [\"homoglyph\", \"invisble\"] must be families of edits; 'invisble' is none: did you mean 'invisible' or 'insert'?",
    ),
    (
        '"https?://[^ ]+"',
        '"("',
        BadPlan,
        '18: [[threat]] "ghost": pattern = "(" must be a regular expression: missing ), unterminated subpattern at position 0',
    ),
    ('"Anna"', "3", BadPlan, '17: [[threat]] "ghost": protected = 3 must be a word, or a list of words'),
    ("queries = 50", "mask = [true]", BadPlan, '21: [[threat]] "ghost": mask is about numbers, and the data are texts; leave it out'),
    ('group = "team"', "bounds = [0, 1]", BadPlan, "10: [data]: bounds is about numbers, and the data are texts; leave it out"),
    ('outputs = "logits"', "mean = 0.5", BadPlan, "3: [target]: mean is about numbers, and the data are texts; leave it out"),
    ("[promise]", "[harden]\n[promise]", BadPlan, "26: [harden]: harden is for models that take numbers; leave it out"),
    (
        'name = "ghost"',
        'name = "ghost, normalised"',
        BadPlan,
        'a name cannot end in ", normalised": so the same threat is called behind the normaliser',
    ),
    (
        '"ham", from',
        '"w.npy", from',
        BadPlan,
        'vauban.toml:20: [[threat]] "ghost", goal: wanted is one class for all texts; name the class',
    ),
    ('"message"', '"mesage"', BadData, "8: [data]: text = 'mesage' is no column of texts.csv; did you mean 'message'?"),
    ('text = "message"', "", BadData, "texts.csv: which column holds the texts? Say text = one of message, truth, team"),
    ('"truth"', '"trut"', BadData, "9: [data]: texts.csv: no column 'trut' for label; did you mean 'truth'?"),
    ('"team"', '"tem"', BadData, "10: [data]: texts.csv: no column 'tem' for group"),
    ("texts.csv", "text.csv", BadData, "text.csv: no such file"),
    ("texts.csv", "texts.npz", BadData, "6: [data]: load = 'texts.npz' is no source of texts"),
    (
        'name = "bad-chars"\npopulation = 8',
        'name = "pgd"',
        BadPlan,
        "[[threat.attack]] \"pgd\": attack 'pgd' changes numbers and is not for texts; those for texts are bad-chars,",
    ),
    (
        "bad-chars",
        "bad-char",
        BadPlan,
        "23: [[threat]] \"ghost\", [[threat.attack]] \"bad-char\": no text attack is named 'bad-char'; did you mean 'bad-chars'",
    ),
    (
        "population",
        "populaton",
        BadPlan,
        "24: [[threat]] \"ghost\", [[threat.attack]] \"bad-chars\": attack 'bad-chars' has no setting 'populaton'; did you mean 'population'?",
    ),
    (
        'name = "bad-chars"\npopulation = 8',
        'name = "pruthi"',
        BadPlan,
        '23: [[threat]] "ghost", [[threat.attack]] "pruthi": attack \'pruthi\' makes edits of the families',
    ),
    (
        'access = "score"',
        'access = "label"',
        NotGranted,
        '23: [[threat]] "ghost", [[threat.attack]] "bad-chars": attack \'bad-chars\' needs score access, and the threat grants label',
    ),
    (
        'access = "score"',
        'access = "gradient"',
        NotGranted,
        "19: [[threat]] \"ghost\": access = 'gradient' is more than the target shows (score); lower it",
    ),
    (
        "queries = 50",
        'suite = "autoattack"',
        BadPlan,
        "21: [[threat]] \"ghost\": suite = 'autoattack' is none of texts; known names: baselines, vauban",
    ),
    ('wanted = "ham"', 'wanted = "harm"', BadPlan, "20: [[threat]] \"ghost\", goal: wanted = 'harm' is not a class; did you mean 'ham'"),
    (
        'outputs = "logits"',
        'encode = "filter.py:encode"',
        BadTarget,
        "3: [target]: encode cannot be set for function; they are for torch modules",
    ),
]


@pytest.mark.parametrize(("old", "new", "error", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence_with_file_line_and_key(
    folder: Path, old: str, new: str, error: type[VaubanError], sentence: str
) -> None:
    assert old in GOOD
    with pytest.raises(error) as told:
        planned(folder, GOOD.replace(old, new, 1))
    assert str(told.value).startswith(f"{folder / 'vauban.toml'}:")
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("  ,ham,a", "texts.csv: row 4: the text is empty; fill it in or leave the row out"),
        (",ham,a", "row 4: the text is empty"),
        ("hello,,a", "row 4, column 'truth' is missing"),
    ],
)
def test_an_empty_text_is_told_by_its_row(folder: Path, line: str, says: str) -> None:
    with (folder / "texts.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadData, match=re.escape(says)) as told:
        planned(folder)
    assert ":8: [data]" in str(told.value) or ":9: [data]" in str(told.value) or ":6: [data]" in str(told.value)


def test_a_table_that_is_none_is_told(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"text": "x", "label": 1}\nnope\n')
    with pytest.raises(BadData, match=r"a.jsonl, line 2: not JSON"):
        load_texts("a.jsonl", base=folder)
    (folder / "b.jsonl").write_text('{"text": 3, "label": 1}\n')
    with pytest.raises(BadData, match="holds no texts"):
        load_texts("b.jsonl", base=folder)
    (folder / "c.jsonl").write_text('{"text": "x", "label": 1}\n{"label": 0}\n')
    with pytest.raises(BadData, match="row 1, column 'text' is missing"):
        load_texts("c.jsonl", base=folder)


def test_numbers_and_texts_are_not_mixed_up(folder: Path, campaign: Path) -> None:
    with pytest.raises(BadPlan, match=r"7: \[data\]: kind = \"text\": texts can be checked and audited, and nothing else"):
        plan_of(read_text(GOOD, folder / "vauban.toml"))
    text = campaign.read_text()
    with pytest.raises(BadPlan, match=r'25: \[\[threat\]\] "fraudster": norm = "edits" counts edits of texts'):
        read_text(text.replace('norm = "l2"', 'norm = "edits"'))
    with pytest.raises(BadPlan, match="normalised is about texts"):
        read_text(text.replace("[data]", "normalised = true\n[data]"))
