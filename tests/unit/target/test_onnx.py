"""The ONNX target answers what the file computes, whatever its input and output look like, and refuses what is no classifier."""

import hashlib
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from vauban.errors import BadTarget, Missing, NotGranted
from vauban.target import Onnx
from vauban.threat import Access

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
B = np.array([0.1, -0.2, 0.3], dtype=np.float32)
X = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
Z = X.numpy() @ W + B
KINDS = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE, np.float16: TensorProto.FLOAT16}


def save(path, nodes, outputs, *, inputs=None, constants=(), dtype=np.float32, batch="n", opset=17):
    """Write a graph that starts from x (batch, 4); outputs are (name, type, shape)."""
    kind = KINDS[dtype]
    inputs = [helper.make_tensor_value_info("x", kind, [batch, 4])] if inputs is None else inputs
    starts = [onnx.numpy_helper.from_array(v.astype(dtype), n) for n, v in {"W": W, "B": B}.items()] + list(constants)
    outs = [o if isinstance(o, onnx.ValueInfoProto) else helper.make_tensor_value_info(*o) for o in outputs]
    graph = helper.make_graph(nodes, "g", inputs, outs, starts)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    return path


GEMM = helper.make_node("Gemm", ["x", "W", "B"], ["z"])
SOFTMAX = helper.make_node("Softmax", ["z"], ["p"], axis=1)
ARGMAX = helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0)
ZIPMAP = helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
LABEL = ("label", TensorProto.INT64, ["n"])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-6), (np.float16, 2e-2)])
def test_logits_are_those_of_the_file_for_every_float_type(tmp_path, dtype, tolerance):
    target = Onnx(save(tmp_path / "m.onnx", [GEMM], [("z", KINDS[dtype], ["n", 3])], dtype=dtype))
    z = target.scores(X)
    np.testing.assert_allclose(z.numpy(), Z, atol=tolerance)
    assert (target.outputs, target.access, target.classes) == ("logits", Access.SCORE, 3)
    assert torch.equal(target.labels(X), torch.from_numpy(Z.argmax(1)))


def test_probabilities_are_recognised_and_become_logits_up_to_a_shift(tmp_path):
    target = Onnx(save(tmp_path / "m.onnx", [GEMM, SOFTMAX], [("p", TensorProto.FLOAT, ["n", 3])]))
    target.prepare(X)
    assert target.outputs == "probabilities"
    np.testing.assert_allclose(target.scores(X).numpy(), torch.from_numpy(Z).log_softmax(1).numpy(), atol=1e-5)


def test_the_label_and_probability_pair_of_converters_is_understood(tmp_path):
    tensor = save(tmp_path / "a.onnx", [GEMM, SOFTMAX, ARGMAX], [LABEL, ("p", TensorProto.FLOAT, ["n", 3])])
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    zipped = helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind))
    mapped = save(tmp_path / "b.onnx", [GEMM, SOFTMAX, ARGMAX, ZIPMAP], [LABEL, zipped])
    truth = torch.from_numpy(Z).log_softmax(1).numpy()
    for path in (tensor, mapped):
        np.testing.assert_allclose(Onnx(path).scores(X).numpy(), truth, atol=1e-5)


def test_a_file_with_labels_alone_has_label_access(tmp_path):
    target = Onnx(save(tmp_path / "m.onnx", [GEMM, ARGMAX], [LABEL]), classes=3)
    assert (target.access, target.classes, target.outputs) == (Access.LABEL, 3, "labels")
    assert torch.equal(target.labels(X), torch.from_numpy(Z.argmax(1)))
    with pytest.raises(NotGranted, match="only answers labels, in output 'label'"):
        target.scores(X)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_size_gives_the_same_answers(tmp_path, batch):
    target = Onnx(save(tmp_path / "m.onnx", [GEMM], [("z", TensorProto.FLOAT, [batch, 3])], batch=batch))
    np.testing.assert_allclose(target.scores(X).numpy(), Z, atol=1e-5)


def test_one_sigmoid_output_becomes_two_columns(tmp_path):
    first = onnx.numpy_helper.from_array(np.array([0]), "first")
    nodes = [GEMM, helper.make_node("Gather", ["z", "first"], ["c"], axis=1), helper.make_node("Sigmoid", ["c"], ["s"])]
    target = Onnx(save(tmp_path / "m.onnx", nodes, [("s", TensorProto.FLOAT, ["n", 1])], constants=[first]))
    z = target.scores(X)
    np.testing.assert_allclose((z[:, 1] - z[:, 0]).numpy(), Z[:, 0], atol=1e-5)
    assert target.outputs == "sigmoid"


def test_flat_files_take_images_of_as_many_pixels_and_others_are_refused(tmp_path):
    target = Onnx(save(tmp_path / "m.onnx", [GEMM], [("z", TensorProto.FLOAT, ["n", 3])]))
    assert torch.equal(target.scores(X.view(-1, 1, 2, 2)), target.scores(X))
    with pytest.raises(BadTarget, match=r"input 'x' takes rows of shape \(4\), and the data have \(5,\)"):
        target.scores(torch.zeros(2, 5))
    with pytest.raises(BadTarget, match=r"takes rows of shape \(4\), and the data have \(1, 2, 3\)"):
        target.scores(torch.zeros(2, 1, 2, 3))


def test_the_fingerprint_is_that_of_the_file(tmp_path):
    path = save(tmp_path / "m.onnx", [GEMM], [("z", TensorProto.FLOAT, ["n", 3])])
    assert Onnx(path).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_that_cannot_be_read_are_refused(tmp_path):
    path = save(tmp_path / "m.onnx", [GEMM], [("z", TensorProto.FLOAT, ["n", 3])])
    for content in (path.read_bytes()[:40], b"no model", b""):
        path.write_bytes(content)
        with pytest.raises(BadTarget, match=r"m\.onnx: ONNX Runtime cannot read the file, damaged"):
            Onnx(path)
    with pytest.raises(BadTarget, match="no such file"):
        Onnx(tmp_path / "other.onnx")
    with pytest.raises(BadTarget, match="outputs = 'logit' is not a kind of output; did you mean"):
        Onnx(path, outputs="logit")


def test_onnx_runtime_missing_says_what_to_install(tmp_path, monkeypatch):
    path = save(tmp_path / "m.onnx", [GEMM], [("z", TensorProto.FLOAT, ["n", 3])])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Missing, match=r"pip install 'vauban\[onnx\]'"):
        Onnx(path)


def test_files_that_are_no_classifiers_are_refused(tmp_path):
    two = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in ("x", "other")]
    add = helper.make_node("Add", ["x", "other"], ["z"])
    with pytest.raises(BadTarget, match=r"has 2 inputs \(x, other\)"):
        Onnx(save(tmp_path / "two.onnx", [add], [("z", TensorProto.FLOAT, ["n", 4])], inputs=two))
    whole = [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 4])]
    cast = helper.make_node("Cast", ["x"], ["z"], to=TensorProto.FLOAT)
    with pytest.raises(BadTarget, match=r"input 'x' is tensor\(int64\)"):
        Onnx(save(tmp_path / "int.onnx", [cast], [("z", TensorProto.FLOAT, ["n", 4])], inputs=whole))
    first = onnx.numpy_helper.from_array(np.array([0]), "first")
    column = helper.make_node("Gather", ["z", "first"], ["c"], axis=1)
    target = Onnx(save(tmp_path / "reg.onnx", [GEMM, column], [("c", TensorProto.FLOAT, ["n", 1])], constants=[first]))
    with pytest.raises(BadTarget, match="as regression models have"):
        target.prepare(X)
    multi = save(
        tmp_path / "multi.onnx", [GEMM, helper.make_node("Cast", ["z"], ["l"], to=TensorProto.INT64)], [("l", TensorProto.INT64, ["n", 3])]
    )
    with pytest.raises(BadTarget, match="3 labels for each input, as multi-label models give"):
        Onnx(multi).labels(X)


def test_several_score_outputs_must_be_told_apart(tmp_path):
    twin = helper.make_node("Neg", ["z"], ["minus"])
    shape = [TensorProto.FLOAT, ["n", 3]]
    path = save(tmp_path / "m.onnx", [GEMM, twin], [("z", *shape), ("minus", *shape)])
    with pytest.raises(BadTarget, match=r"which output holds the class scores \(z tensor\(float\), minus tensor\(float\)\)"):
        Onnx(path)
    np.testing.assert_allclose(Onnx(path, output="minus").scores(X).numpy(), -Z, atol=1e-5)
    with pytest.raises(BadTarget, match="no output 'minis'; did you mean 'minus'"):
        Onnx(path, output="minis")
    named = save(
        tmp_path / "n.onnx", [GEMM, helper.make_node("Identity", ["z"], ["logits"]), twin], [("minus", *shape), ("logits", *shape)]
    )
    np.testing.assert_allclose(Onnx(named).scores(X).numpy(), Z, atol=1e-5)


def test_a_failure_while_running_is_told_in_one_sentence(tmp_path):
    shape = onnx.numpy_helper.from_array(np.array([2, 6]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["z"])
    target = Onnx(save(tmp_path / "m.onnx", [node], [("z", TensorProto.FLOAT, None)], constants=[shape]))
    with pytest.raises(BadTarget, match=r"ONNX Runtime failed on inputs of shape \(7, 4\)"):
        target.scores(X)
    with pytest.raises(BadTarget, match=r"3 inputs gave outputs of shape \(2, 6\); a classifier answers each input once"):
        target.scores(X[:3])
