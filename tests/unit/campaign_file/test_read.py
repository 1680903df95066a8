"""Every mistake in a campaign file is one sentence that names file, line and key."""

import subprocess
import sys
from pathlib import Path

import pytest

from vauban.campaign.file import read_file, read_text
from vauban.errors import BadPlan

# (what stands in the good file, what stands there instead, the sentence)
MISTAKES = [
    ("steps = 5", "steps = [", "vauban.toml:23: not TOML: Invalid value"),
    ("seed = 3", "seed 3", "vauban.toml:2: not TOML: Expected '=' after a key in a key/value pair"),
    ('eps = "8/255"', 'eps = "8/255"\neps = 1', "vauban.toml:19: not TOML: Cannot overwrite a value"),
    ('title = "', "title = '''", "vauban.toml:36: not TOML: Expected \"'''\""),
    ("seed = 3", "sed = 3", "vauban.toml:2: no key 'sed' is known here; did you mean 'seed'?"),
    ("seed = 3", "seed = -3", "vauban.toml:2: seed = -3 should be greater than or equal to 0"),
    ("seed = 3", "seed = true", "vauban.toml:2: seed = true should be a valid integer"),
    ("[target]", "[targt]", "vauban.toml:4: no key 'targt' is known here; did you mean 'target' or 'threat'?"),
    ("[target]", "[[target]]", "vauban.toml:4: target must be a table; write [target]"),
    ("[[surrogate]]", "[surrogate]", "vauban.toml:12: surrogate must be an array of tables; write [[surrogate]]"),
    ('[target]\nload = "m.py:build"', "", "vauban.toml:1: [target] is missing"),
    ('load = "m.py:build"', "load = 3", "vauban.toml:5: [target]: load = 3 should be a valid string"),
    (
        'load = "d.npz"',
        'file = "d.npz"',
        "vauban.toml:8: [data]: no key 'file' is known here; known names: bounds, classes, group, kind, label, layout, load, rows, split, text, x, y",
    ),
    ('load = "d.npz"\n', "", "vauban.toml:7: [data]: the key 'load' is missing"),
    (
        "bounds = [0, 1]",
        "bounds = [1]",
        "vauban.toml:9: [data]: bounds = [1] must be two values, the least and the greatest input, such as [0, 1]",
    ),
    ("bounds = [0, 1]", "bounds = [0,\n 1]\nrows = 0", "vauban.toml:11: [data]: rows = 0 should be greater than or equal to 1"),
    ("bounds = [0, 1]", "rows = 1.5", "vauban.toml:9: [data]: rows = 1.5 should be a valid integer"),
    (
        "bounds = [0, 1]",
        'layout = "hcw"',
        "vauban.toml:9: [data]: layout = \"hcw\" should be 'auto', 'chw', 'hwc', 'hw', 'vector' or 'series'",
    ),
    ('["spoof", "live"]', "[0.5]", "vauban.toml:10: [data]: classes = [0.5] must be a class, by name or number, or a list of classes"),
    ('name = "twin"\n', "", "vauban.toml:12: [[surrogate]] number 1: the key 'name' is missing"),
    ('name = "insider"\n', "", "vauban.toml:16: [[threat]] number 1: the key 'name' is missing"),
    ('name = "insider"', 'name = " "', 'vauban.toml:17: [[threat]] " ": name = " " must not be empty'),
    (
        'name = "fraudster"',
        'name = "insider"',
        'vauban.toml:24: [[threat]] "insider": a threat of this name stands in line 17 already; give each a name of its own',
    ),
    ('"8/255"', '"8/0"', 'vauban.toml:18: [[threat]] "insider": eps = "8/0" must be a number or a fraction such as "8/255"'),
    ('"8/255"', "[8]", 'vauban.toml:18: [[threat]] "insider": eps = [8] must be a number or a fraction such as "8/255"'),
    ('"8/255"', "nan", 'vauban.toml:18: [[threat]] "insider": eps = nan must be a number or a fraction such as "8/255"'),
    ('eps = "8/255"', 'esp = "8/255"', "vauban.toml:18: [[threat]] \"insider\": no key 'esp' is known here; did you mean 'eps'?"),
    (
        'eps = "8/255"\n',
        "",
        'vauban.toml:16: [[threat]] "insider": eps is missing; say how far an input may be moved, such as eps = "8/255"',
    ),
    (
        'eps = "8/255"',
        "eps = 1\nrotation = 3",
        'vauban.toml:16: [[threat]] "insider": rotation and eps exclude each other; make two threats of them',
    ),
    ('eps = "8/255"', "rotation = 200", 'vauban.toml:18: [[threat]] "insider": rotation = 200 should be less than or equal to 180'),
    (
        'norm = "l2"',
        'norm = "l3"',
        "vauban.toml:25: [[threat]] \"fraudster\": norm = 'l3' is not a norm; did you mean 'l2' or 'l1' or 'l0'?",
    ),
    ('norm = "l2"', "norm = 2", "vauban.toml:25: [[threat]] \"fraudster\": norm = 2 must be one of 'linf', 'l2', 'l1', 'l0'"),
    (
        'norm = "l2"',
        'access = "grad"',
        "vauban.toml:25: [[threat]] \"fraudster\": access = 'grad' is not a level of access; did you mean 'gradient'?",
    ),
    (
        'norm = "l2"',
        'mask = ["a"]',
        'vauban.toml:25: [[threat]] "fraudster": mask = ["a"] must be a list of true and false, one for each feature in C order, or a file such as "mask.npy"',
    ),
    ('norm = "l2"', "seconds = 0", 'vauban.toml:25: [[threat]] "fraudster": seconds = 0 should be greater than 0'),
    ('norm = "l2"', "surrogate = 3", 'vauban.toml:25: [[threat]] "fraudster": surrogate = 3 must be a name, or a list of names'),
    ('norm = "l2"', 'surrogate = "twn"', "vauban.toml:25: [[threat]] \"fraudster\": no [[surrogate]] is named 'twn'; did you mean 'twin'?"),
    ('norm = "l2"', 'attack = "pgd"', 'vauban.toml:25: [[threat]] "fraudster": attack must be an array of tables; write [[threat.attack]]'),
    ("queries = 100", "queries = 1.5", 'vauban.toml:28: [[threat]] "fraudster": queries = 1.5 should be a valid integer'),
    ("{ wanted", "{ wnted", "vauban.toml:27: [[threat]] \"fraudster\", goal: no key 'wnted' is known here; did you mean 'wanted'?"),
    ('wanted = "live"', "wanted = 0.5", 'vauban.toml:27: [[threat]] "fraudster", goal: wanted = 0.5 must be a class, by name or number'),
    ('wanted = "live", from', "from", "vauban.toml:27: [[threat]] \"fraudster\", goal: the key 'wanted' is missing"),
    (
        '["spoof"] }',
        "[] }",
        'vauban.toml:27: [[threat]] "fraudster", goal: from = [] must be a class, by name or number, or a list of classes',
    ),
    (
        '{ wanted = "live", from = ["spoof"] }',
        '"live"',
        'vauban.toml:27: [[threat]] "fraudster": goal = "live" must be "untargeted", or a table such as { wanted = "live", from = ["spoof"] }',
    ),
    ('name = "pgd"\n', "", "vauban.toml:19: [[threat]] \"insider\", [[threat.attack]] number 1: the key 'name' is missing"),
    (
        "steps = 5",
        "queries = 0",
        'vauban.toml:21: [[threat]] "insider", [[threat.attack]] "pgd": queries = 0 should be greater than or equal to 1',
    ),
    ('"insider" = ', '"insder" = ', "vauban.toml:32: [promise]: no threat is named 'insder'; did you mean 'insider'?"),
    (
        "0.45",
        "45",
        'vauban.toml:32: [promise] "insider": robust_accuracy = 45 must lie in [0, 1]: it is a share, not a percentage; did you mean 0.45?',
    ),
    ("0.45", "-0.1", 'vauban.toml:32: [promise] "insider": robust_accuracy = -0.1 must lie in [0, 1]: it is a share, not a percentage'),
    ("0.45", '"45%"', 'vauban.toml:32: [promise] "insider": robust_accuracy = "45%" must be a number in [0, 1]'),
    ("robust_accuracy", "robust", "vauban.toml:32: [promise] \"insider\": no key 'robust' is known here; did you mean 'robust_accuracy'?"),
    (
        "{ robust_accuracy = 0.45, clean_accuracy = 0.9 }",
        "{}",
        'vauban.toml:32: [promise] "insider": promises nothing; say robust_accuracy or clean_accuracy',
    ),
    (
        "{ robust_accuracy = 0.45, clean_accuracy = 0.9 }",
        "0.45",
        "vauban.toml:32: [promise]: insider must be a table; write [promise.insider]",
    ),
    ("chunk = 20", "chunk = 0", "vauban.toml:35: [run]: chunk = 0 should be greater than or equal to 1"),
    ("chunk = 20", "chunks = 20", "vauban.toml:35: [run]: no key 'chunks' is known here; did you mean 'chunk'?"),
    ("inputs = false", 'inputs = "no"', 'vauban.toml:36: [run]: inputs = "no" should be a valid boolean'),
    ("inputs = false", '[harden]\nthreat = "insidr"', "vauban.toml:37: [harden]: no threat is named 'insidr'; did you mean 'insider'?"),
    ("inputs = false", '[harden]\nkeep = "worst"', "vauban.toml:37: [harden]: keep = \"worst\" should be 'best' or 'last'"),
    ("inputs = false", '[harden.data]\nlod = "d.npz"', "vauban.toml:37: [harden.data]: no key 'lod' is known here; did you mean 'load'?"),
    ("inputs = false", "[harden.attack]\nsteps = 3", "vauban.toml:36: [harden.attack]: the key 'name' is missing"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence_with_file_line_and_key(good: str, old: str, new: str, sentence: str) -> None:
    assert old in good
    with pytest.raises(BadPlan) as error:
        read_text(good.replace(old, new, 1), "vauban.toml")
    assert str(error.value) == sentence


def test_an_empty_file_says_what_is_missing() -> None:
    with pytest.raises(BadPlan, match=r"^vauban.toml: \[target\] is missing$"):
        read_text("")


def test_without_a_threat_there_is_no_campaign() -> None:
    with pytest.raises(BadPlan, match=r"\[\[threat\]\] is missing, such as \[\[threat\]\] with a name and an eps"):
        read_text('[target]\nload = "m.onnx"\n[data]\nload = "d.npz"\n')


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="no such file; `vauban init` writes one"):
        read_file(tmp_path / "none.toml")
    with pytest.raises(BadPlan, match="cannot be read: Is a directory"):
        read_file(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(BadPlan, match="cannot be read: byte 9 is not UTF-8"):
        read_file(tmp_path / "b.toml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(good: str, tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_bytes(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())
    assert read_file(tmp_path / "w.toml").seed == 3


def test_reading_a_file_needs_no_torch(tmp_path: Path, good: str) -> None:
    (tmp_path / "vauban.toml").write_text(good)
    code = "import sys; from vauban.campaign.file import read_file; read_file('vauban.toml'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_what_is_read_is_what_was_written(good: str) -> None:
    model = read_text(good)
    assert [t.name for t in model.threat] == ["insider", "fraudster"]
    assert model.threat[0].attack[0].settings == {"steps": 5}
    assert model.promise["insider"].robust_accuracy == 0.45
    assert (model.run.chunk, model.run.inputs, model.harden) == (20, False, None)
