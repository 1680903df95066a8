"""The door over strings: what it refuses, in one sentence, and what it verifies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vauban.doors.text import Normalised, Play, TextFunction, TextOracle, TextPipeline, TextRow, TextTorch, as_text_target
from vauban.errors import BadData, BadPlan, BadTarget, NotGranted
from vauban.threat import Access, Ball, Edits, Threat

ALL = Threat("t", Edits(2), Access.SCORE)


def scores(texts: list[str]) -> list[list[float]]:
    return [[0.5, 3.0 * ("cash" in t)] for t in texts]


def good() -> TextFunction:
    return TextFunction(scores, outputs="logits")


@pytest.mark.parametrize(
    ("texts", "labels", "threat", "error", "says"),
    [
        (["cash", "  "], [1, 0], ALL, BadData, "row 1: the text is empty; remove it"),
        (["cash", "!?"], [1, 0], ALL, BadData, "row 1: '!\\?' has no letter to edit"),
        (["cash"], [1], Threat("t", Edits(2, protected=["cash"]), Access.SCORE), BadData, "row 0: every letter of 'cash' is protected"),
        (["cash", 3], [1, 0], ALL, BadData, "row 1 is int and no text"),
        ("cash", [1], ALL, BadData, "a list of strings"),
        ([], [], ALL, BadData, "0 texts and 0 labels"),
        (["cash"], [1, 0], ALL, BadData, "1 texts and 2 labels"),
        (["cash"], [0.5], ALL, BadData, "whole numbers"),
        (["cash"], [7], ALL, BadData, "label 7 is out of range"),
        (["cash"], [1], Threat("t", Ball(0.1), Access.SCORE), BadPlan, "allows linf, and these are texts"),
        (["cash"], [1], Threat("t", Edits(2)), NotGranted, "only shows scores"),
    ],
)
def test_what_cannot_be_audited_is_told_in_one_sentence(
    texts: object, labels: list[int], threat: Threat, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        TextOracle(good(), texts, labels, threat)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [0, -1, 1.5, "3", True])
def test_a_number_of_edits_is_whole_and_positive(most: object) -> None:
    with pytest.raises(BadPlan, match="whole number, 1 or more"):
        Edits(most)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"families": ["swp"]}, "did you mean 'swap'"), ({"metric": "hamming"}, "metric"), ({"pattern": "("}, "no regular")],
)
def test_wrong_words_in_edits_are_told(settings: dict[str, object], says: str) -> None:
    with pytest.raises(BadPlan, match=says):
        Edits(1, **settings)  # type: ignore[arg-type]


def test_a_changing_number_of_classes_is_an_error() -> None:
    calls: list[int] = []

    def moody(texts: list[str]) -> list[list[float]]:
        calls.append(len(texts))
        return [[1.0, 3.0, *[0.0] * (len(calls) > 1)] for _ in texts]

    o = TextOracle(TextFunction(moody, outputs="logits"), ["cash now"], [1], ALL)
    with pytest.raises(BadTarget, match="2 classes at first, and now outputs of shape"), o.attacking("one", Access.SCORE):
        o.play(tries("cahs now"))


def test_scores_that_are_mostly_not_finite_are_an_error() -> None:
    with pytest.raises(BadTarget, match="not finite"):
        TextOracle(TextFunction(lambda t: [[math.nan, 1.0]] * len(t), outputs="logits"), ["cash"], [1], ALL)


def tries(*texts: str) -> object:
    def attack(row: TextRow) -> Play:
        for text in texts:
            yield from row.submit([text])

    return attack


def test_a_success_that_does_not_come_again_does_not_count() -> None:
    calls: list[int] = []

    def fickle(texts: list[str]) -> list[list[float]]:
        calls.append(1)
        return [[0.0, -1.0 if len(calls) == 2 else 1.0] for _ in texts]

    o = TextOracle(TextFunction(fickle, outputs="logits"), ["cash now"], [1], ALL)
    with o.attacking("one", Access.NONE):
        o.play(tries("cahs now"))  # type: ignore[arg-type]
    assert bool(o.unverified[0]) and not bool(o.book.broken[0])


def test_a_text_out_of_reach_is_charged_and_never_wins() -> None:
    o = TextOracle(good(), ["cash now"], [1], ALL)
    with o.attacking("one", Access.NONE):
        o.play(tries("now", "something else", "cxsh nwo"))  # type: ignore[arg-type]
    assert int(o.book.queries[0]) == 3 and int(o.book.first[0]) == 3
    assert o.adversarial(0) == "cxsh nwo"


def test_the_nearest_example_is_kept_and_the_one_that_broke_it_too() -> None:
    o = TextOracle(good(), ["cash now"], [1], ALL, settle="nearest")
    with o.attacking("one", Access.NONE):
        o.play(tries("cxsh nwo", "ca\u200bsh now", "kash nwo"))  # type: ignore[arg-type]
    assert o.adversarial(0) == "ca\u200bsh now" and float(o.book.distance[0]) == 1
    assert o.kept[int(o.book.fell[0])] == "cxsh nwo" and float(o.book.fell_distance[0]) == 2
    assert int(o.book.first[0]) == 1


def test_a_normalised_target_reads_what_is_shown() -> None:
    behind = Normalised(good())
    assert behind.labels(["c\u0430sh", "ca\u200bsh", "c\u202esa\u202ch", "cahs"]).tolist() == [1, 1, 1, 0]
    assert good().labels(["c\u0430sh", "ca\u200bsh", "c\u202esa\u202ch", "cahs"]).tolist() == [0, 0, 0, 0]


def test_pipelines_show_what_they_can() -> None:
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    texts, labels = ["free cash", "cash now", "see you", "good day"], ["spam", "spam", "ham", "ham"]
    soft = as_text_target(make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, labels))
    hard = TextPipeline(make_pipeline(CountVectorizer(), LinearSVC()).fit(texts, labels))
    for target in (soft, hard):
        assert target.access is Access.SCORE and target.classes == 2
        assert target.scores(texts).shape == (4, 2)
        assert target.labels(texts).tolist() == [1, 1, 0, 0], "classes are numbered in the order of classes_"
    assert len(soft.sha256()) == 64 and soft.sha256() != hard.sha256()
    with pytest.raises(BadTarget, match="fit it"):
        TextPipeline(make_pipeline(CountVectorizer(), LinearSVC()))


def test_a_torch_module_asks_for_its_encoder() -> None:
    with pytest.raises(BadTarget, match="TextTorch"):
        as_text_target(nn.Linear(2, 2))
    with pytest.raises(BadTarget, match="encode gave list"):
        TextTorch(nn.Linear(2, 2), lambda texts: [1]).scores(["a"])  # type: ignore[arg-type,return-value]
    two = nn.Sequential(nn.Embedding(4, 2), nn.Embedding(4, 2))
    with pytest.raises(BadTarget, match="2 layers of nn"):
        TextTorch(two, lambda texts: torch.zeros(len(texts), 3, dtype=torch.long)).embed(["a"])
