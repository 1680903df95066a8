"""One thread, and small models whose answers are known."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """60 points of 4 features in three separated clouds, and their classes."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    return rng.normal(size=(60, 4)) * 0.6 + np.eye(3, 4)[y] * 2, y


@pytest.fixture
def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


@pytest.fixture
def linear_onnx():
    """Writes a file of a linear model from 4 features to 3 scores."""

    def write(path):
        starts = [onnx.numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "W")]
        ends = [helper.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 4), ("z", 3))]
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["z"])], "g", ends[:1], ends[1:], starts)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    return write
