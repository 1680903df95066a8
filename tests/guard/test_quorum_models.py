"""Models: only what a publisher signed is run, exactly as it was signed, and nothing in a file can do more than compute."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_models import SIZE, picture, save, tiny_ensemble, tiny_onnx, tiny_rows

from vauban.errors import BadData, BadGuard, BadManifest, GuardDown
from vauban.guard.images import Picture
from vauban.guard.keys import key_id
from vauban.guard.quorum import Ensemble, Quorum, read_ensemble
from vauban.guard.quorum.calibrate import Asked, operating_point, sign
from vauban.guard.quorum.ensemble import bundle
from vauban.guard.quorum.evidence import evidence_of
from vauban.guard.quorum.inspection import inspect
from vauban.guard.quorum.manifest import KIND, manifest_of
from vauban.guard.quorum.model import Model, load, session_of
from vauban.guard.quorum.signed import approved, make_publisher, opened, read_document, read_publisher, signed, write_document
from vauban.measure.exact import clopper_pearson

KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLISHERS = {key_id(KEY.public_key()): KEY.public_key()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return tiny_ensemble(tmp_path_factory.mktemp("models"), KEY)


@pytest.fixture
def folder(made: Ensemble, tmp_path: Path) -> Path:
    """A copy that may be spoiled."""
    return Path(shutil.copytree(made.folder, tmp_path / "first"))


def asked(ensemble: Ensemble, *colours: Any) -> list[bool]:
    """What an ensemble says to even pictures."""
    quorum = ensemble.quorum()
    try:
        return [quorum.ask(Picture.fitted(picture(c), quorum.sizes)).accept for c in colours]
    finally:
        quorum.close()


def test_what_was_signed_answers_as_it_was_made(folder: Path) -> None:
    found = read_ensemble(folder, PUBLISHERS)
    assert found.families == ("convolutional", "mixer", "transformer")
    assert asked(found, 0.9, 0.1, (0.9, 0.9, 0.1), (0.1, 0.9, 0.9)) == [True, False, False, False]
    assert found.measured is not None
    assert found.measured.attacks["print"].wrong == 0


def other_threshold(folder: Path) -> None:
    path = folder / "first-mixer.json"
    path.write_text(path.read_text().replace('"threshold": ', '"threshold": -'))


def flipped(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return spoil


def by_a_stranger(folder: Path) -> None:
    path = folder / "first-mixer.json"
    write_document(path, signed(KIND, read_document(path)["value"], STRANGER))


def in_anothers_name(folder: Path) -> None:
    path = folder / "first-mixer.json"
    document = read_document(path)
    forged = signed(KIND, {**document["value"], "threshold": -9.0}, STRANGER)
    (signature,) = forged["signatures"].values()
    write_document(path, {**forged, "signatures": dict.fromkeys(document["signatures"], signature)})


def without_signature(folder: Path) -> None:
    path = folder / "first-mixer.json"
    write_document(path, {**read_document(path), "signatures": {}})


def another_signed_model(folder: Path) -> None:
    """Signed by the right one, but not for this ensemble: an older, weaker one."""
    path = folder / "first-mixer.json"
    write_document(path, signed(KIND, {**read_document(path)["value"], "threshold": -9.0}, KEY))


def one_model_less(folder: Path) -> None:
    path = folder / "ensemble.json"
    document = read_document(path)
    document["value"]["models"].pop("first-mixer.json")
    write_document(path, document)


def signed_as_something_else(folder: Path) -> None:
    path = folder / "ensemble.json"
    write_document(path, signed(KIND, read_document(path)["value"], KEY))


def another_file(folder: Path) -> None:
    shutil.copy(folder / "convolutional.onnx", folder / "mixer.onnx")


def no_file(folder: Path) -> None:
    (folder / "mixer.onnx").unlink()


def key_twice(folder: Path) -> None:
    path = folder / "ensemble.json"
    path.write_text(path.read_text().replace('"kind"', '"kind": "vauban ensemble", "kind"', 1))


def nan(folder: Path) -> None:
    path = folder / "first-mixer.json"
    path.write_text(path.read_text().replace('"threshold": ', '"threshold": NaN, "was": '))


def pickled(folder: Path) -> None:
    (folder / "ensemble.json").write_bytes(pickle.dumps({"kind": "vauban ensemble"}))


def deep(folder: Path) -> None:
    (folder / "ensemble.json").write_text("[" * 100_000)


SPOILED = [
    flipped("mixer.onnx"), flipped("first-mixer.json"), flipped("ensemble.json"), other_threshold, by_a_stranger, in_anothers_name,
    without_signature, another_signed_model, one_model_less, signed_as_something_else, another_file, no_file, key_twice, nan, pickled, deep,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda f: f.__name__)
def test_what_was_changed_is_not_run(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(BadManifest):
        read_ensemble(folder, PUBLISHERS).models()


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 0.999), bit=st.integers(0, 7), file=st.sampled_from(["mixer.onnx", "first-mixer.json", "ensemble.json"]))
def test_no_bit_can_be_turned(made: Ensemble, where: float, bit: int, file: str) -> None:
    """A bit of the layout of a document, or of a signature's letter case, changes nothing; whatever changes something is refused."""
    content = bytearray((made.folder / file).read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    folder = made.folder.parent / "turned"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.folder, folder)
    (folder / file).write_bytes(content)
    try:
        found = read_ensemble(folder, PUBLISHERS)
        found.models()
    except BadManifest:
        return
    assert found.id == made.id
    assert found.manifests == made.manifests


def test_a_signature_is_for_one_kind_of_document() -> None:
    document = signed(KIND, {"a": 1}, KEY)
    assert opened(document, KIND, PUBLISHERS, "here") == {"a": 1}
    with pytest.raises(BadManifest, match="was changed after it was signed"):
        opened({**document, "kind": "vauban ensemble"}, "vauban ensemble", PUBLISHERS, "here")


def test_two_approvals_are_two_publishers(folder: Path) -> None:
    second = Ed25519PrivateKey.generate()
    both = PUBLISHERS | {key_id(second.public_key()): second.public_key()}
    with pytest.raises(BadManifest, match="1 of the 2 publishers"):
        read_ensemble(folder, both, approvals=2)
    path = folder / "ensemble.json"
    write_document(path, approved(read_document(path), KEY))
    with pytest.raises(BadManifest, match="1 of the 2"):
        read_ensemble(folder, both, approvals=2)
    write_document(path, approved(read_document(path), second))
    assert read_ensemble(folder, both, approvals=2).name == "first"


def test_a_publishers_key_is_for_its_owner(tmp_path: Path) -> None:
    public = make_publisher(tmp_path / "p.key")
    assert key_id(read_publisher(tmp_path / "p.key").public_key()) == key_id(public)
    with pytest.raises(BadGuard, match="not written over"):
        make_publisher(tmp_path / "p.key")
    (tmp_path / "p.key").chmod(0o644)
    with pytest.raises(BadGuard, match="chmod 600"):
        read_publisher(tmp_path / "p.key")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"file": "../weights.onnx"}, "manifest's own folder"),
        ({"file": "/etc/passwd"}, "manifest's own folder"),
        ({"file": ".hidden"}, "manifest's own folder"),
        ({"model": "../a"}, "model"),
        ({"threshold": "1"}, "threshold"),
        ({"sha256": "0"}, "sha256"),
        ({"surprise": 1}, "surprise"),
        ({"input": {"name": "x", "height": 24, "width": 24, "mean": [0.5]}}, "one number for each"),
        ({"input": {"name": "x", "height": 24, "width": 24, "std": [1.0, 0.0, 1.0]}}, "std"),
        ({"input": {"name": "x", "height": 24, "width": 10**6}}, "width"),
        ({"output": {"name": "y", "kind": "logit", "live": 2}}, "0 or 1"),
    ],
)
def test_a_signed_manifest_that_cannot_be_meant_is_told(folder: Path, change: dict[str, Any], said: str) -> None:
    value = read_document(folder / "first-mixer.json")["value"]
    with pytest.raises(BadManifest, match=said):
        manifest_of({**value, **change}, "manifest")


def weights(name: str, shape: tuple[int, ...] = (3, 2)) -> Any:
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def outside(path: Path, location: str) -> Path:
    tensor = weights("w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return save(path, [helper.make_node("Gemm", ["x", "w"], ["output"])], [tensor])


def nested(path: Path) -> Path:
    """Weights in another file, inside a branch."""
    tensor = weights("w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=tensor)], "branch", [], [out])
    return save(path, [helper.make_node("If", ["c"], ["output"], then_branch=branch, else_branch=branch)], [])


def function(path: Path) -> Path:
    body = helper.make_function("mine", "f", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], [helper.make_opsetid("", 17)])
    node = helper.make_node("f", ["x"], ["output"], domain="mine")
    return save(path, [node], [], opsets=[helper.make_opsetid("mine", 1)], functions=[body])


INSIDE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "weights above": (lambda p: outside(p, "../../secret.bin"), "another file"),
    "weights beside": (lambda p: outside(p, "weights.bin"), "another file"),
    "weights in a branch": (nested, "another file"),
    "operators of others": (lambda p: save(p, [helper.make_node("Run", ["x"], ["output"], domain="evil")], []), "code of others"),
    "libraries of others": (
        lambda p: save(p, [helper.make_node("Identity", ["x"], ["output"])], [], opsets=[helper.make_opsetid("evil", 1)]),
        "code of others",
    ),
    "functions": (function, "functions of its own"),
    "chance": (lambda p: save(p, [helper.make_node("RandomNormalLike", ["x"], ["output"])], []), "by chance"),
    "nothing": (lambda p: save(p, [], []), "nothing to compute"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_file_that_would_do_more_than_compute_is_refused(tmp_path: Path, name: str) -> None:
    make, said = INSIDE[name]
    path = make(tmp_path / "model.onnx")
    with pytest.raises(BadManifest, match=said):
        inspect(path.read_bytes(), "model.onnx")
    with pytest.raises(BadManifest, match=said):
        sign(path, tiny_rows(), Asked("m", "f"), KEY)


class Evil:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_nothing_is_unpickled(tmp_path: Path, folder: Path) -> None:
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Evil(trace)))
    assert trace.exists(), "it would leave a trace"
    trace.unlink()
    content = pickle.dumps(Evil(trace))
    for name in ("m.onnx", "m.json", "rows.npz"):
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "objects.npz", x=np.array([Evil(trace)], object), y=np.zeros(1))
    from vauban.guard.quorum.rows import read_pictures, read_rows

    for attempt in (
        lambda: inspect(content, "m.onnx"),
        lambda: opened(read_document(tmp_path / "m.json"), KIND, PUBLISHERS, "m.json"),
        lambda: read_rows(tmp_path / "rows.npz"),
        lambda: read_rows(tmp_path / "objects.npz"),
        lambda: read_pictures(tmp_path / "objects.npz"),
    ):
        with pytest.raises((BadManifest, BadData)):
            attempt()
    assert not trace.exists()


def test_a_file_that_does_not_fit_its_manifest_is_refused(folder: Path) -> None:
    told = read_ensemble(folder, PUBLISHERS).manifests[0]
    for change in (
        {"input": told.input.model_copy(update={"name": "z"})},
        {"input": told.input.model_copy(update={"height": 32})},
        {"input": told.input.model_copy(update={"channels": 1})},
        {"output": told.output.model_copy(update={"name": "z"})},
    ):
        with pytest.raises(BadManifest, match=r"takes|no output"):
            load(told.model_copy(update=change), folder)


def test_a_model_for_one_input_at_a_time_is_asked_one_by_one(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "one.onnx", batch=1)
    manifest = sign(path, tiny_rows(), Asked("one", "f"), KEY)
    model = load(manifest, tmp_path)
    assert np.allclose(model.scores(manifest.golden_inputs()), manifest.golden.scores, atol=1e-4)


def slow(path: Path, times: int) -> Path:
    """A model that takes its time: many products of large matrices."""
    side = 256
    dice = np.random.default_rng(0)
    product = dice.normal(0, 1 / 16, (side, side)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "wide"], ["v"]),
        helper.make_node("MatMul", ["tall", "v"], ["m0"]),
        *(helper.make_node("MatMul", [f"m{i}", "w"], [f"m{i + 1}"]) for i in range(times)),
        helper.make_node("ReduceMean", [f"m{times}"], ["r"], axes=[0, 1], keepdims=1),
        helper.make_node("Mul", ["r", "zero"], ["nought"]),
        helper.make_node("MatMul", ["f", "w2"], ["g"]),
        helper.make_node("Add", ["g", "b"], ["h"]),
        helper.make_node("Add", ["h", "nought"], ["output"]),
    ]
    held = [
        numpy_helper.from_array(np.ones((3, side), np.float32), "wide"),
        numpy_helper.from_array(np.ones((side, 1), np.float32), "tall"),
        numpy_helper.from_array(product, "w"),
        numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"),
        numpy_helper.from_array(np.array([[40, 0], [0, 0], [0, 0]], np.float32), "w2"),
        numpy_helper.from_array(np.array([-20, 0], np.float32), "b"),
    ]
    return save(path, nodes, held, batch=1)


def test_a_model_that_takes_too_long_is_given_up_by_the_runtime(tmp_path: Path, made: Ensemble) -> None:
    manifest = sign(tiny_onnx(tmp_path / "tiny.onnx"), tiny_rows(), Asked("slow", "f"), KEY)
    first = base64.b64encode(manifest.golden_inputs()[:1].tobytes()).decode()
    golden = manifest.golden.model_copy(update={"inputs": first, "scores": manifest.golden.scores[:1]})
    content = slow(tmp_path / "slow.onnx", 300).read_bytes()
    model = Model(manifest.model_copy(update={"golden": golden}), session_of(content, "slow.onnx"))
    bright = picture(0.9)[None]
    once = min(timed(lambda: model.scores(bright)) for _ in range(2))
    threading.Timer(once / 4, model.stop).start()
    with pytest.raises(GuardDown, match="terminate"):
        model.scores(bright)
    quorum = Quorum([model, *made.models()], least=0, timeout=10.0)
    seen = Picture.fitted(bright[0], quorum.sizes)
    assert quorum.ask(seen).accept
    quorum.timeout = once / 4
    verdict = quorum.ask(seen)
    assert not verdict.accept
    assert "slow" in verdict.missing
    quorum.timeout = 10.0
    assert quorum.ask(seen).accept
    quorum.close()


def timed(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


ANSWER = """
import sys, json, numpy as np
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from vauban.guard.quorum import read_ensemble
from vauban.guard.keys import key_id
key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(sys.argv[2]))
models = read_ensemble(Path(sys.argv[1]), {key_id(key): key}).models()
levels = np.random.default_rng(1).integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)
print(json.dumps([m.scores(levels).tolist() for m in models]), "torch" in sys.modules)
"""


def test_another_process_answers_bit_for_bit_alike_and_needs_no_torch(made: Ensemble) -> None:
    from vauban.guard.keys import raw

    told = [sys.executable, "-c", ANSWER, str(made.folder), raw(KEY.public_key()).hex()]
    found = subprocess.run(told, capture_output=True, text=True, check=True).stdout
    levels = np.random.default_rng(1).integers(0, 256, (40, *SIZE, 3), dtype=np.uint8)
    here = [m.scores(levels).tolist() for m in made.models()]
    assert found.split(" False")[0] == json.dumps(here)
    assert found.endswith("False\n")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(40, 400), budget=st.sampled_from([0.02, 0.05, 0.1, 0.2]), seed=st.integers(0, 99), levels=st.sampled_from([5, 1000])
)
def test_the_operating_point_is_the_highest_within_the_budget(rows: int, budget: float, seed: int, levels: int) -> None:
    scores = np.random.default_rng(seed).integers(0, levels, rows) / 10.0
    if clopper_pearson(0, rows)[1] > budget:
        with pytest.raises(BadData, match="live rows cannot show"):
            operating_point(scores, budget)
        return
    point = operating_point(scores, budget)
    assert clopper_pearson(int((scores <= point).sum()), rows)[1] <= budget
    higher = scores[scores > point].min()
    assert clopper_pearson(int((scores <= higher).sum()), rows)[1] > budget
    assert higher - point <= 0.01 + 1e-9


def test_rows_without_a_score_are_rejected_at_any_point() -> None:
    scores = np.concatenate([np.arange(200.0), [np.nan] * 4])
    point = operating_point(scores, 0.05)
    assert point < 0
    with pytest.raises(BadData, match="no finite score"):
        operating_point(np.concatenate([np.arange(200.0), [np.nan] * 20]), 0.05)


def test_two_of_one_family_are_no_ensemble(tmp_path: Path) -> None:
    for channel, (name, family) in enumerate((("a", "resnet"), ("b", "resnet"), ("c", "mixer"))):
        sign(tiny_onnx(tmp_path / f"{name}.onnx", channel), tiny_rows(), Asked(name, family), KEY)
    with pytest.raises(BadManifest, match="'resnet' is the family of two"):
        bundle(tmp_path / "e", "e", [tmp_path / "a.json", tmp_path / "b.json"], KEY)
    with pytest.raises(BadManifest, match="of two"):
        bundle(tmp_path / "e", "e", [tmp_path / "a.json", tmp_path / "a.json"], KEY)
    assert not (tmp_path / "e").exists()
    bundle(tmp_path / "e", "e", [tmp_path / "a.json", tmp_path / "c.json"], KEY)
    with pytest.raises(BadManifest, match="not written over"):
        bundle(tmp_path / "e", "e", [tmp_path / "a.json", tmp_path / "c.json"], KEY)


def test_what_a_stranger_signed_is_not_bundled(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    sign(path, tiny_rows(), Asked("m", "f"), STRANGER)
    with pytest.raises(BadManifest, match="no publisher"):
        bundle(tmp_path / "e", "e", [path.with_suffix(".json")], KEY)


def test_evidence_is_about_the_file_that_is_signed(tmp_path: Path) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    record = tmp_path / "m.safetensors.json"
    from hashlib import sha256

    told = {
        "kind": "vauban training",
        "attack": {"name": "pgd"},
        "kept": {"pgd": 0.8},
        "onnx": {"sha256": sha256(path.read_bytes()).hexdigest()},
    }
    record.write_text(json.dumps(told))
    manifest = sign(path, tiny_rows(), Asked("m", "f", evidence=evidence_of(record, path)), KEY)
    assert manifest.hardened
    assert manifest.evidence["training"]["kept"] == {"pgd": 0.8}
    with pytest.raises(BadManifest, match="not about"):
        evidence_of(record, tiny_onnx(tmp_path / "other.onnx", 1))
    record.write_text("{}")
    with pytest.raises(BadManifest, match="no record of a training"):
        evidence_of(record, path)
