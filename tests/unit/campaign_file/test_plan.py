"""A file comes to the plan it says, and what cannot be carried out is told with file, line and key."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vauban.attacks import ATTACKS
from vauban.campaign.file import plan_of, read_file
from vauban.campaign.plan import Plan
from vauban.errors import BadData, BadPlan, BadTarget, NotGranted, VaubanError
from vauban.target import Mean, StraightThrough
from vauban.threat import Access, Ball, Goal


def load(campaign: Path, old: str = "", new: str = "") -> Plan:
    """The plan of the good file with one thing changed."""
    text = campaign.read_text()
    assert old in text
    campaign.write_text(text.replace(old, new, 1))
    return plan_of(read_file(campaign), campaign)


def test_a_file_comes_to_its_plan(campaign: Path) -> None:
    plan = load(campaign)
    insider, fraudster = plan.sieges
    assert (plan.title, plan.seed, plan.chunk, plan.keep_inputs, plan.source) == ("Liveness, release 12", 3, 20, False, campaign)
    assert insider.threat.perturbation == Ball("8/255")
    assert (insider.threat.access, insider.threat.queries) == (Access.GRADIENT, math.inf)
    assert [(a.name, a.settings["steps"]) for a in insider.attacks] == [("pgd", 5)]
    assert fraudster.threat.goal == Goal(wanted=1, sources=(0,))
    assert (fraudster.threat.perturbation, fraudster.threat.queries) == (Ball(0.5, "l2"), 100)
    assert [a.name for a in fraudster.attacks] == ["fgsm", "pgd"]
    assert [(p.threat, p.robust_accuracy, p.clean_accuracy) for p in plan.promises] == [("insider", 0.45, 0.9)]


def test_a_threat_without_attacks_gets_the_default_suite(campaign: Path) -> None:
    plan = load(campaign, '[[threat.attack]]\nname = "pgd"\nsteps = 5\n', "")
    names = [a.name for a in plan.sieges[0].attacks]
    assert names[-1] == "fmn"
    assert "adaptive" in names


def test_a_suite_comes_before_the_attacks_beside_it(campaign: Path) -> None:
    plan = load(campaign, 'suite = "quick"', 'suite = "quick"\nattack = [{ name = "ddn", steps = 3, queries = 7 }]')
    assert [(a.name, a.queries) for a in plan.sieges[1].attacks] == [("fgsm", math.inf), ("pgd", math.inf), ("ddn", 7)]


# (what stands in the good file, what stands there instead, the error, the sentence after the folder)
MISTAKES = [
    (
        '"pgd"',
        '"pdg"',
        BadPlan,
        "vauban.toml:20: [[threat]] \"insider\", [[threat.attack]] \"pdg\": no attack is named 'pdg'; did you mean 'pgd' or 'apgd' or 'p-rgf'?",
    ),
    (
        "steps = 5",
        "stepz = 5",
        BadPlan,
        "vauban.toml:21: [[threat]] \"insider\", [[threat.attack]] \"pgd\": attack 'pgd' has no setting 'stepz'; did you mean ",
    ),
    (
        "steps = 5",
        "steps = 0",
        BadPlan,
        'vauban.toml:21: [[threat]] "insider", [[threat.attack]] "pgd": attack \'pgd\': steps = 0 should be greater than or equal to 1',
    ),
    (
        "steps = 5",
        'loss = "dl"',
        BadPlan,
        "vauban.toml:21: [[threat]] \"insider\", [[threat.attack]] \"pgd\": attack 'pgd': loss = 'dl' should be ",
    ),
    (
        '"pgd"\nsteps = 5',
        '"ddn"',
        BadPlan,
        "vauban.toml:20: [[threat]] \"insider\", [[threat.attack]] \"ddn\": attack 'ddn' works on l2, and threat 'insider' allows linf",
    ),
    ('"quick"', '"quik"', BadPlan, "vauban.toml:29: [[threat]] \"fraudster\": no suite is named 'quik'; did you mean 'quick'?"),
    ("eps = 0.5", "eps = -1", BadPlan, 'vauban.toml:26: [[threat]] "fraudster": eps = -1 must be positive, such as "8/255"'),
    ('"8/255"', "8", BadPlan, 'vauban.toml:18: [[threat]] "insider": eps = 8 is larger than the input range [0, 1]; did you mean "8/255"?'),
    (
        '"8/255"',
        "inf",
        BadPlan,
        "vauban.toml:20: [[threat]] \"insider\", [[threat.attack]] \"pgd\": attack 'pgd' needs a radius, and threat 'insider' has eps = inf",
    ),
    (
        'eps = "8/255"',
        "rotation = 5",
        BadPlan,
        'vauban.toml:18: [[threat]] "insider": rotation and translation need images; these inputs have shape (6,)',
    ),
    (
        'wanted = "live"',
        'wanted = "lve"',
        BadPlan,
        "vauban.toml:27: [[threat]] \"fraudster\", goal: wanted = 'lve' is not a class; did you mean 'live'?",
    ),
    (
        'wanted = "live"',
        "wanted = 2",
        BadPlan,
        'vauban.toml:27: [[threat]] "fraudster", goal: wanted = 2 is not a class; they are numbered 0 to 1',
    ),
    (
        'from = ["spoof"]',
        'from = ["live"]',
        BadPlan,
        'vauban.toml:27: [[threat]] "fraudster": goal: class 1 is both wanted and a source; its inputs would win untouched',
    ),
    ('wanted = "live"', 'wanted = "w.npy"', BadPlan, 'vauban.toml:27: [[threat]] "fraudster", goal: wanted: w.npy cannot be read as .npy'),
    (
        'norm = "l2"',
        "mask = [true, false]",
        BadPlan,
        'vauban.toml:25: [[threat]] "fraudster": mask has 2 values of shape (2,) for 6 features of shape (6,); give one for each',
    ),
    (
        'norm = "l2"',
        "mask = [false, false, false, false, false, false]",
        BadPlan,
        'vauban.toml:25: [[threat]] "fraudster": mask: no feature may change',
    ),
    ("bounds = [0, 1]", "bounds = [0, 0.5]", BadData, "vauban.toml:9: [data]: d.npz: row "),
    ("bounds = [0, 1]", "rows = 41", BadData, "vauban.toml:9: [data]: d.npz: rows = 41 must be from 1 to 40"),
    ('"d.npz"', '"e.npz"', BadData, "vauban.toml:8: [data]: "),
    ("bounds = [0, 1]", 'group = "sit"', BadData, "vauban.toml:9: [data]: d.npz: no array 'sit' for group; did you mean 'site'?"),
    ('load = "m.py:build"\n', 'load = "m.py:bild"\n', BadTarget, "vauban.toml:5: [target]: m.py has no 'bild'; did you mean 'build'?"),
    ('load = "m.py:build"\n', 'load = "m.py:build"\nweights = "w.safetensors"\n', BadTarget, "vauban.toml:6: [target]: "),
    ('load = "m.py:build"\n', 'load = "m.py:build"\noutputs = "logit"\n', BadTarget, "vauban.toml:6: [target]: "),
    (
        'load = "m.py:build"\n',
        'load = "m.py:build"\nreject = "maybe"\n',
        BadPlan,
        "vauban.toml:6: [target]: reject = 'maybe' is not a class; known names: live, spoof",
    ),
    ('load = "m.py:build"\n', 'load = "m.pkl"\n', BadTarget, "vauban.toml:5: [target]: "),
    (
        'name = "twin"\nload = "m.py:build"',
        'name = "twin"\nload = "m.py:twin"',
        BadTarget,
        "vauban.toml:14: [[surrogate]] \"twin\": m.py has no 'twin'",
    ),
    (
        'load = "m.py:build"\n',
        'load = "m.py:build"\naccess = "score"\n',
        NotGranted,
        'vauban.toml:21: [[threat]] "insider", [[threat.attack]] "pgd": attack \'pgd\' needs gradient access, and the threat grants score',
    ),
    (
        'norm = "l2"',
        'access = "label"',
        BadPlan,
        "vauban.toml:29: [[threat]] \"fraudster\": no attack of the suite 'quick' can act with label access",
    ),
]


@pytest.mark.parametrize(("old", "new", "kind", "sentence"), MISTAKES)
def test_what_cannot_be_carried_out_is_told_with_its_line(
    campaign: Path, old: str, new: str, kind: type[VaubanError], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        load(campaign, old, new)
    message = str(error.value)
    assert message.removeprefix(f"{campaign.parent}/").startswith(sentence), message
    assert "\n" not in message


def test_more_access_than_the_target_shows_needs_a_surrogate(campaign: Path) -> None:
    black = ('load = "m.py:build"\n', 'load = "m.py:build"\naccess = "label"\n')
    more = '\n[[threat]]\nname = "thief"\naccess = "gradient"\neps = 0.1\n'
    campaign.write_text(
        campaign.read_text()
        .replace("suite =", 'access = "label"\nsurrogate = "twin"\nsuite =')
        .replace('"pgd"\nsteps = 5', '"uniform-noise"')
        + more
    )
    campaign.write_text(campaign.read_text().replace('name = "insider"', 'name = "insider"\nsurrogate = "twin"'))
    with pytest.raises(NotGranted, match=r"access = 'gradient' is more than the target shows \(label\)"):
        load(campaign, *black)
    plan = load(campaign, more, "")
    assert [a.name for a in plan.sieges[1].attacks] == ["fgsm", "pgd"]  # the surrogate lends gradients
    assert plan.sieges[1].threat.access is Access.LABEL


def test_several_surrogates_are_their_mean_and_code_may_give_one(campaign: Path) -> None:
    more = '[[surrogate]]\nname = "bpda"\nload = "m.py:rounded"\n'
    campaign.write_text(campaign.read_text().replace('name = "insider"', 'name = "insider"\nsurrogate = ["twin", "bpda"]') + more)
    surrogate = load(campaign).sieges[0].surrogate
    assert isinstance(surrogate, Mean)
    assert isinstance(surrogate.members[1], StraightThrough)


def test_an_attack_of_ones_own_is_found_by_path_and_leaves_the_registry_as_it_was(campaign: Path) -> None:
    before = dict(ATTACKS)
    for _ in range(2):
        plan = load(campaign, 'name = "pgd"\nsteps = 5' if _ == 0 else "", 'name = "m.py:mine"\ntries = 2' if _ == 0 else "")
        assert [(a.name, dict(a.settings)) for a in plan.sieges[0].attacks] == [("mine", {"tries": 2})]
    assert before == ATTACKS
    assert plan.resolved["code"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.py:plain", "m.py:plain is function, not an attack; put @attack(...) over the function, from vauban.attacks"),
        ("m.py:mein", "m.py has no 'mein'; did you mean 'mine'"),
        ("n.py:mine", "n.py: no such file"),
        ("m.py:chosen", "attack 'm.py:chosen' has its settings chosen already, and steps is one more"),
    ],
)
def test_what_is_no_attack_is_told(campaign: Path, name: str, sentence: str) -> None:
    with pytest.raises(BadPlan) as error:
        load(campaign, 'name = "pgd"', f'name = "{name}"')
    assert "vauban.toml:2" in str(error.value)
    assert sentence in str(error.value)


def test_a_mask_and_wanted_classes_may_lie_in_files(campaign: Path) -> None:
    np.save(campaign.parent / "mask.npy", np.arange(6) % 2 == 0)
    np.save(campaign.parent / "wanted.npy", np.arange(40) % 2)
    campaign.write_text(campaign.read_text().replace('wanted = "live", from = ["spoof"]', 'wanted = "wanted.npy"'))
    threat = load(campaign, 'norm = "l2"', 'mask = "mask.npy"').sieges[1].threat
    assert threat.ball.mask == (True, False) * 3
    assert threat.goal.wanted == (0, 1) * 20


def test_a_wanted_class_for_too_few_rows_is_refused(campaign: Path) -> None:
    np.save(campaign.parent / "wanted.npy", np.zeros(39, dtype=np.int64))
    with pytest.raises(BadPlan, match=r"one for each row of the source \(at least 40\)"):
        load(campaign, 'wanted = "live", from = ["spoof"]', 'wanted = "wanted.npy"')


def test_the_plan_in_plain_values_is_json_and_changes_with_what_numbers_depend_on(campaign: Path) -> None:
    plan = load(campaign)
    first = json.loads(json.dumps(plan.resolved, allow_nan=False))
    assert first["target"]["sha256"] == plan.target.sha256()
    assert first["data"]["sha256"] == plan.data.sha256
    assert first["threats"][0]["attacks"][0]["settings"]["restarts"] == 1
    assert first["promises"] == {"insider": {"robust_accuracy": 0.45, "clean_accuracy": 0.9}}
    assert load(campaign).resolved == plan.resolved
    for old, new in (("steps = 5", "steps = 6"), ("seed = 3", "seed = 4"), ("queries = 100", "queries = 99"), ('"8/255"', '"4/255"')):
        assert load(campaign, old, new).resolved != plan.resolved
        load(campaign, new, old)


def test_everything_in_a_file_is_relative_to_it(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert len(load(campaign).data) == 40
