"""Targets by what a campaign file says, round trips of weights, and every way in which that can fail."""

import pickle
import sys

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from vauban.errors import BadData, BadTarget, NotGranted
from vauban.target import Function, Onnx, Sklearn, Torch, load_target
from vauban.threat import Access
from vauban.user_code import find, is_code

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))

MODEL = """
import torch
from torch import nn
from sizes import WIDE
from vauban.target import Committee, Torch

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(WIDE, 3)
    def forward(self, x):
        return self.head(x)

class Wide(Net):
    def __init__(self, width):
        super().__init__()

def build():
    from sizes import WIDE
    return Net()

def committee():
    return Committee([Torch(build()), Torch(build())])

ready = Net()

def predict(batch):
    return batch[:, :3]

def maker():
    return predict

def nothing():
    pass

def number():
    return 7

def broken():
    x = 1
    return undefined

def quits():
    raise SystemExit("enough")

def own():
    Torch(7)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "sizes.py").write_text("WIDE = 4\n")
    yield tmp_path
    sys.modules.pop("sizes", None)


def saved(folder, name="w.safetensors", change=lambda s: s):
    torch.manual_seed(9)
    state = change({f"head.{k}": v.detach().clone() for k, v in torch.nn.Linear(4, 3).state_dict().items()})
    (save_file if name.endswith("safetensors") else torch.save)(state, folder / name)
    return name


@pytest.mark.parametrize("name", ["build", "Net", "ready"])
def test_a_function_a_class_and_an_instance_all_name_a_module(folder, name):
    target = load_target(f"model.py:{name}", base=folder)
    assert isinstance(target, Torch) and target.scores(X).shape == (6, 3) and target.access == Access.GRADIENT


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_weights_come_back_as_they_were_saved(folder, file):
    target = load_target("model.py:build", weights=saved(folder, file), base=folder)
    torch.manual_seed(9)
    torch.testing.assert_close(target.scores(X), torch.nn.Linear(4, 3)(X).detach())


@pytest.mark.parametrize(
    "change", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}], ids=["checkpoint", "parallel"]
)
def test_the_usual_wrappings_of_weights_are_undone(folder, change):
    target = load_target("model.py:build", weights=saved(folder, "w.pt", change), base=folder)
    plain = load_target("model.py:build", weights=saved(folder, "v.pt"), base=folder)
    assert target.sha256() == plain.sha256()


MISFITS = [
    (lambda s: {"head.weight": s["head.weight"]}, "w.safetensors does not fit Net: missing head.bias$"),
    (lambda s: s | {"tail": torch.zeros(1)}, "unexpected tail$"),
    (lambda s: s | {"head.bias": torch.zeros(7)}, r"of another shape head.bias \(7,\) instead of \(3,\)$"),
    (lambda s: {f"k{i}": torch.zeros(1) for i in range(9)}, "missing head.weight, head.bias; unexpected k0, k1, k2 and 6 more$"),
]


@pytest.mark.parametrize(("change", "sentence"), MISFITS)
def test_weights_that_do_not_fit_are_told_by_a_few_names(folder, change, sentence):
    with pytest.raises(BadTarget, match=sentence):
        load_target("model.py:build", weights=saved(folder, change=change), base=folder)


def test_unreadable_weights_are_refused_and_run_no_code(folder):
    for name in ("bad.safetensors", "bad.pt"):
        saved(folder, name)
        whole = (folder / name).read_bytes()
        for content in (whole[: len(whole) // 2], b"\x00" * 50, b""):
            (folder / name).write_bytes(content)
            with pytest.raises(BadTarget, match=rf"{name} (cannot be read as weights|is damaged)"):
                load_target("model.py:build", weights=name, base=folder)

    torch.save(torch.nn.Linear(4, 3), folder / "whole.pt")
    with pytest.raises(BadTarget, match=r"whole.pt is damaged, or holds more than weights; save model.state_dict\(\)"):
        load_target("model.py:build", weights="whole.pt", base=folder)
    torch.save([1, 2], folder / "list.pt")
    with pytest.raises(BadTarget, match=r"list.pt holds no state dict"):
        load_target("model.py:build", weights="list.pt", base=folder)
    with pytest.raises(BadTarget, match="no such file of weights"):
        load_target("model.py:build", weights="none.pt", base=folder)


def test_settings_reach_the_module(folder):
    target = load_target("model.py:ready", mean=0.5, std=[2.0], outputs="logits", reject=2, name="mine", device="cpu", base=folder)
    assert (target.name, target.reject, target.outputs) == ("mine", 2, "logits")
    torch.testing.assert_close(target.scores(X), target.model((X - 0.5) / 2).detach())


def test_functions_of_a_batch_and_their_makers_become_functions(folder):
    for name in ("predict", "maker"):
        target = load_target(f"model.py:{name}", base=folder)
        assert isinstance(target, Function) and torch.equal(target.scores(X), X[:, :3])


def test_ready_targets_pass_and_take_no_settings(folder):
    assert load_target("model.py:committee", base=folder).kind == "committee"
    with pytest.raises(BadTarget, match="weights and mean cannot be set for a ready target"):
        load_target("model.py:committee", weights="w.pt", mean=0, base=folder)


def test_a_ready_torch_target_takes_weights_for_its_module(folder):
    (folder / "wrapped.py").write_text(
        "import torch\nfrom vauban.target import Torch\ntorch.manual_seed(1)\nmade = Torch(torch.nn.Linear(4, 3), mean=0.5)\n"
    )
    other = torch.nn.Linear(4, 3)
    torch.save(other.state_dict(), folder / "other.pt")
    target = load_target("wrapped.py:made", weights="other.pt", base=folder)
    torch.testing.assert_close(target.model.weight, other.weight)
    with pytest.raises(BadTarget, match=r"mean cannot be set for a ready target"):
        load_target("wrapped.py:made", weights="other.pt", mean=0, base=folder)
    torch.save(torch.nn.Linear(4, 2).state_dict(), folder / "small.pt")
    with pytest.raises(BadTarget, match=r"small.pt does not fit Linear: of another shape"):
        load_target("wrapped.py:made", weights="small.pt", base=folder)


@pytest.mark.parametrize("name", ["made", "plain"])
def test_weights_do_not_reach_what_others_find_in_a_module(folder, monkeypatch, name):
    (folder / "shared_models.py").write_text(
        "import torch\nfrom vauban.target import Torch\nplain = torch.nn.Linear(4, 3)\nmade = Torch(torch.nn.Linear(4, 3), outputs='logits')\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    other = torch.nn.Linear(4, 3)
    torch.save(other.state_dict(), folder / "other.pt")
    first = load_target(f"shared_models:{name}", base=folder)
    before = first.sha256()
    second = load_target(f"shared_models:{name}", weights="other.pt", base=folder)
    assert first.sha256() == before != second.sha256()
    torch.testing.assert_close(second.model.weight, other.weight)


def test_access_lowers_and_never_raises(folder, linear_onnx):
    assert load_target("model.py:build", access="label", base=folder).access == Access.LABEL
    assert load_target("model.py:build", access="gradient", base=folder).kind == "torch"
    (folder / "sign.py").write_text("def side(x):\n    return x[:, 0] > 0\n")
    target = load_target("sign.py:side", access="label", base=folder)
    assert target.kind == "function" and target.labels(X).tolist() == (X[:, 0] > 0).int().tolist()
    linear_onnx(folder / "m.onnx")
    with pytest.raises(NotGranted, match="cannot be made to show gradients"):
        load_target("m.onnx", access="gradient", base=folder)


def test_an_onnx_file_is_loaded_by_its_name(folder, linear_onnx):
    linear_onnx(folder / "m.onnx")
    target = load_target("m.onnx", base=folder)
    assert isinstance(target, Onnx) and target.scores(X).shape == (6, 3)
    with pytest.raises(BadTarget, match="std cannot be set for an ONNX file"):
        load_target("m.onnx", std=1.0, base=folder)


@pytest.mark.parametrize("name", ["m.pkl", "m.joblib"])
def test_a_pickle_is_read_only_when_trusted(folder, name):
    estimator = LogisticRegression().fit(X.numpy(), [0, 1, 2, 0, 1, 2])
    if name.endswith("pkl"):
        (folder / name).write_bytes(pickle.dumps(estimator))
    else:
        joblib.dump(estimator, folder / name)
    with pytest.raises(BadTarget, match=f"{name} is a pickle, which can run any code when it is read; .* --trust-pickle"):
        load_target(name, base=folder)
    target = load_target(name, base=folder, trust_pickle=True)
    assert isinstance(target, Sklearn)
    np.testing.assert_allclose(target.scores(X).exp().numpy(), estimator.predict_proba(X.numpy().astype(np.float64)))
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with pytest.raises(BadTarget, match=f"{name} cannot be unpickled"):
        load_target(name, base=folder, trust_pickle=True)


def test_an_untrusted_pickle_runs_nothing(folder):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    (folder / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadTarget, match="is a pickle"):
        load_target("bomb.pkl", base=folder)
    torch.save(Bomb(), folder / "bomb.pt")
    with pytest.raises(BadTarget, match="more than weights"):
        load_target("model.py:build", weights="bomb.pt", base=folder)
    assert not (folder / "ran").exists()


def line(start):
    return next(i for i, text in enumerate(MODEL.split("\n"), 1) if text.strip().startswith(start))


SENTENCES = [
    ("model.py:biuld", r"model.py has no 'biuld'; did you mean 'build'"),
    ("other.py:build", "no such file; paths are relative to the campaign file"),
    ("model.py:Wide", "Wide needs arguments; name a function without arguments"),
    ("model.py:nothing", "model.py:nothing returned None; it must return the model"),
    ("model.py:number", "model.py:number gives int; a model is"),
    ("model.py:broken", f"^model.py:{line('return undefined')}: NameError: name 'undefined' is not defined$"),
    ("model.py:quits", f"^model.py:{line('raise SystemExit')}: SystemExit: enough$"),
    ("model.py:own", r"^Torch needs a torch.nn.Module and got int"),
    ("weights.pt", "target = 'weights.pt' is no model: write"),
    ("gone.onnx", "no such file"),
    ("gone.pkl", "no such file"),
    ("no_such_package.deep:build", "no module named 'no_such_package'; install it, or name the file"),
    ("syntax.py:build", "^syntax.py:2: SyntaxError: "),
    ("deep.py:build", "^deep.py:2: ModuleNotFoundError: No module named 'absent'$"),
    ("elsewhere.py:build", "^elsewhere.py:3: ZeroDivisionError: division by zero$"),
]


@pytest.mark.parametrize(("spec", "sentence"), SENTENCES)
def test_what_cannot_be_loaded_is_told_in_one_sentence(folder, spec, sentence):
    (folder / "syntax.py").write_text("x = 1\ndef build(:\n")
    (folder / "deep.py").write_text("x = 1\nimport absent\n")
    (folder / "helper_lib.py").write_text("def divide():\n    return 1 / 0\n")
    (folder / "elsewhere.py").write_text("import helper_lib\ndef build():\n    return helper_lib.divide()\n")
    with pytest.raises(BadTarget, match=sentence) as caught:
        load_target(spec, base=folder)
    assert "\n" not in str(caught.value)
    sys.modules.pop("helper_lib", None)


@pytest.mark.parametrize("reject", [-1, 2])
def test_a_reject_column_that_is_no_class_is_refused(folder, reject):
    joblib.dump(LogisticRegression().fit(X.numpy(), [0, 1, 0, 1, 0, 1]), folder / "m.joblib")
    with pytest.raises(BadTarget, match=f"reject = {reject} must be a class, from 0 to 1"):
        load_target("m.joblib", reject=reject, trust_pickle=True, base=folder)


def test_a_package_beside_the_campaign_file_is_found(folder):
    (folder / "my_pkg_for_test").mkdir()
    (folder / "my_pkg_for_test" / "__init__.py").write_text("")
    (folder / "my_pkg_for_test" / "net.py").write_text("import torch\nbuild = lambda: torch.nn.Linear(4, 3)\n")
    assert load_target("my_pkg_for_test.net:build", base=folder).scores(X).shape == (6, 3)
    (folder / "my_pkg_for_test" / "bad.py").write_text("x = 1\nx.nothing\n")
    with pytest.raises(BadTarget, match=r"^bad.py:2: AttributeError: 'int' object has no attribute 'nothing'$"):
        load_target("my_pkg_for_test.bad:build", base=folder)
    for name in [n for n in sys.modules if n.startswith("my_pkg_for_test")]:
        del sys.modules[name]


def test_the_path_of_python_is_left_as_it_was_and_edits_are_seen(folder):
    before = list(sys.path)
    (folder / "edit.py").write_text("value = 1\n")
    assert find("edit.py:value", folder) == 1
    (folder / "edit.py").write_text("value = 'two'\n")
    assert find("edit.py:value", folder) == "two"
    (folder / "edit.py").write_text("1 / 0\n")
    with pytest.raises(BadData, match=r"^edit.py:1: ZeroDivisionError"):
        find("edit.py:value", folder, BadData)
    assert sys.path == before and not any(n.startswith("_vauban_user_edit") for n in sys.modules)


@pytest.mark.parametrize(
    ("spec", "code"),
    [("a.py:f", True), ("dir/a.py:f", True), ("a.b:f", True), ("a.py", False), ("a b:f", False), ("C:\\x", False), (":f", False)],
)
def test_what_reads_as_code(spec, code):
    assert is_code(spec) == code
    if not code:
        with pytest.raises(BadTarget, match="names no code"):
            find(spec)
