"""A Python function as a target: what it is given, what it may answer, and what is refused."""

import numpy as np
import pytest
import torch

from vauban.errors import BadPlan, BadTarget, NotGranted
from vauban.noise import RowNoise
from vauban.target import Function
from vauban.threat import Access

W = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("wrap", [np.asarray, lambda z: z.tolist(), torch.from_numpy, lambda z: z.astype(np.float64)])
def test_scores_may_be_numpy_torch_or_lists(wrap):
    target = Function(lambda x: wrap(x @ W.numpy()))
    torch.testing.assert_close(target.scores(X).float(), X @ W)
    assert target.classes == 3 and target.access == Access.SCORE and target.outputs == "logits"


def test_the_function_sees_float32_numpy_or_the_tensor_itself():
    seen = []
    f = lambda x: seen.append(type(x)) or (x @ (W if isinstance(x, torch.Tensor) else W.numpy()))  # noqa: E731
    Function(f).scores(X)
    Function(f, as_numpy=False).scores(X)
    assert seen == [np.ndarray, torch.Tensor]


def test_probabilities_are_recognised():
    target = Function(lambda x: (x @ W).softmax(1), as_numpy=False)
    torch.testing.assert_close(target.scores(X), (X @ W).log_softmax(1))
    assert target.outputs == "probabilities"


def test_a_differentiable_function_gives_the_gradient_of_its_scores():
    target = Function(lambda x: x @ W, access="gradient", as_numpy=False)
    x = X.clone().requires_grad_()
    target.smooth(x)[:, 1].sum().backward()
    torch.testing.assert_close(x.grad, W[:, 1].expand(6, 4))
    assert not target.scores(x).requires_grad
    with pytest.raises(NotGranted, match="a function target has no gradient"):
        Function(lambda x: x @ W, as_numpy=False).smooth(X)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool])
def test_labels_may_have_any_integer_type_and_teach_the_number_of_classes(dtype):
    answer = np.array([0, 1, 1, 0, 1, 0]).astype(dtype)
    target = Function(lambda x: answer[: len(x)], access="label")
    assert target.classes is None
    target.prepare(X)
    assert target.classes == 2 and target.labels(X).dtype == torch.int64
    assert target.labels(X).tolist() == answer.astype(int).tolist()
    assert (
        Function(lambda x: answer[: len(x)], access="label").labels(X).tolist() == answer.astype(int).tolist()
    )  # before the number is known


def test_a_randomised_function_gets_the_noise_of_its_rows():
    target = Function(lambda x, draw: x @ W.numpy() + draw.normal(3).numpy(), randomised=True, outputs="logits")
    ids = torch.arange(10, 16)
    whole = target.scores(X, RowNoise(ids, 5))
    part = target.scores(X[2:], RowNoise(ids[2:], 5))
    assert torch.equal(whole[2:], part) and not torch.equal(whole, target.scores(X, RowNoise(ids, 6)))
    assert target.randomised and target.scores(X).shape == (6, 3)


REFUSED = [
    ({"f": 7}, "Function needs a function from a batch to scores or labels and got int"),
    ({"access": "none"}, "must answer, to be judged"),
    ({"access": "gradient"}, "a function of numpy arrays has no gradient"),
    ({"classes": 1}, "classes = 1 must be at least 2"),
    ({"outputs": "logit"}, "not a kind of output"),
]


@pytest.mark.parametrize(("settings", "sentence"), REFUSED)
def test_settings_that_cannot_be_are_refused(settings, sentence):
    with pytest.raises(BadTarget, match=sentence):
        Function(**{"f": lambda x: x, **settings})
    with pytest.raises(BadPlan, match="is not a level of access"):
        Function(lambda x: x, access="lable")


ANSWERS = [
    ({}, lambda x: np.zeros(len(x), int), "the model returns torch.int64, not scores"),
    ({}, lambda x: np.array(["cat"] * len(x)), "returns ndarray of <U3; return numbers"),
    ({}, lambda x: np.zeros((len(x), 2, 2)), "segmentation and detection"),
    ({}, lambda x: x[:, 0] * 9, "regression models"),
    ({"classes": 5}, lambda x: x @ W.numpy(), "5 classes at first, and now 3; give one column for each class"),
    (
        {"access": "label"},
        lambda x: x @ W.numpy(),
        r"answered float32 of shape \(6, 3\) for 6 inputs; with label access return one integer",
    ),
    ({"access": "label"}, lambda x: np.zeros(3, int), r"answered int64 of shape \(3,\) for 6 inputs"),
    ({"access": "label", "classes": 3}, lambda x: np.full(len(x), 3), "answered class 3; say how many there are with classes=, now 3"),
    ({"access": "label"}, lambda x: np.full(len(x), -1), "answered class -1; classes count from 0"),
]


@pytest.mark.parametrize(("settings", "f", "sentence"), ANSWERS)
def test_answers_that_are_no_classifiers_are_refused(settings, f, sentence):
    with pytest.raises(BadTarget, match=sentence):
        Function(f, **settings).prepare(X)


def test_labels_alone_give_no_scores():
    with pytest.raises(NotGranted, match="only answers labels; for scores give access='score'"):
        Function(lambda x: x, access="label").scores(X)


def test_a_changing_number_of_classes_is_noticed():
    widths = iter([3, 4])
    target = Function(lambda x: np.arange(len(x) * (k := next(widths)), dtype=np.float32).reshape(len(x), k))
    target.scores(X)
    with pytest.raises(BadTarget, match="3 classes at first, and now 4"):
        target.scores(X)
