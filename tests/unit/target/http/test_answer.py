"""Every form of answer is read as what it says, and what it does not say is told in a sentence."""

import json

import pytest

from vauban.errors import BadPlan, Malformed
from vauban.target.http.answer import Reader, Reply, Unread
from vauban.target.http.settings import Answer

THREE = ("cat", "dog", "owl")


def read(answer: Answer, body: object, rows: int = 1) -> list[Reply]:
    return Reader(answer).read(json.dumps(body), rows)


@pytest.mark.parametrize(
    ("answer", "body", "reply"),
    [
        (Answer(scores="a.z"), {"a": {"z": [1, 2.5, -3]}}, Reply((1.0, 2.5, -3.0))),
        (Answer(scores="@"), [0.25, 0.75], Reply((0.25, 0.75))),
        (Answer(scores="p"), {"p": 0.7}, Reply((0.7,))),
        (Answer(scores="p", classes=THREE), {"p": {"owl": 3, "cat": 1, "dog": 2}}, Reply((1.0, 2.0, 3.0))),
        (Answer(scores="p", classes={"owl": 0, "cat": 1, "dog": 2}), {"p": {"owl": 3, "cat": 1, "dog": 2}}, Reply((3.0, 1.0, 2.0))),
        (
            Answer(scores="top[].[n, p]", classes=THREE, outputs="probabilities"),
            {"top": [{"n": "dog", "p": 0.5}]},
            Reply((0.25, 0.5, 0.25)),
        ),
        (Answer(scores="top", classes=THREE, outputs="probabilities"), {"top": {"dog": 0.4, "cat": 0.1}}, Reply((0.1, 0.4, 0.1))),
        (Answer(label="l", classes=THREE), {"l": "owl"}, Reply(label=2)),
        (Answer(label="l"), {"l": 4}, Reply(label=4)),
        (Answer(label="l"), {"l": "4"}, Reply(label=4)),
        (Answer(label="l", scores="z", classes=THREE), {"l": "dog", "z": [3, 2, 1]}, Reply((3.0, 2.0, 1.0), 1)),
        (Answer(accept="d == 'live'"), {"d": "live"}, Reply(label=1)),
        (Answer(accept="d == 'live'"), {"d": "spoof"}, Reply(label=0)),
        (Answer(accept="score >= `0.5`"), {"score": 0.2}, Reply(label=0)),
        (Answer(scores="z", refused_if="blocked"), {"blocked": True}, Reply(refused=True)),
    ],
)
def test_every_form_is_read(answer: Answer, body: object, reply: Reply) -> None:
    (found,) = read(answer, body)
    assert found == reply
    assert Reply.read(found.text()) == found, "the journal gives back something else"


def test_the_share_of_the_first_class_leaves_the_rest_to_the_others() -> None:
    reader = Reader(Answer(label="l", confidence="c", classes=THREE))
    (found,) = reader.read('{"l": "dog", "c": 0.6}', 1)
    assert found.scores == pytest.approx((0.2, 0.6, 0.2))
    (weak,) = reader.read('{"l": "dog", "c": 0.3}', 1)
    assert weak.scores is not None and max(weak.scores) == weak.scores[1] > weak.scores[0]


def test_a_batch_has_an_answer_for_each_row() -> None:
    answer = Answer(rows="predictions", scores="z", refused_if="no")
    found = read(answer, {"predictions": [{"z": [1, 2]}, {"no": 1}, {"z": [3, 4]}]}, 3)
    assert [r.scores for r in found] == [(1.0, 2.0), None, (3.0, 4.0)] and found[1].refused
    with pytest.raises(Unread, match="2 answers to 3 rows"):
        read(answer, {"predictions": [{"z": [1, 2]}] * 2}, 3)
    with pytest.raises(Unread, match="no list"):
        read(answer, {"predictions": {}}, 3)
    with pytest.raises(Unread, match="no expression rows"):
        read(Answer(scores="z"), {"z": []}, 2)


@pytest.mark.parametrize(
    ("answer", "body", "sentence"),
    [
        (Answer(scores="a.b"), {"a": {"c": 1}}, "finds nothing"),
        (Answer(scores="a"), {"a": "high"}, "a text and no number"),
        (Answer(scores="a"), {"a": [1, None]}, "nothing and no number"),
        (Answer(scores="a"), {"a": []}, "no scores"),
        (Answer(scores="a"), {"a": [True, False]}, "no number"),
        (Answer(label="l", classes=THREE), {"l": "dgo"}, "did you mean 'dog'"),
        (Answer(label="l", classes=THREE), {"l": 3}, "no class"),
        (Answer(label="l"), {"l": "dog"}, "neither a class name"),
        (Answer(accept="d"), {"d": "live"}, "true or false"),
        (Answer(label="l", confidence="c", classes=THREE), {"l": "dog", "c": 60}, r"must lie in \[0, 1\]"),
        (Answer(scores="p", classes=THREE), {"p": {"dog": 1}}, "2 classes have no score"),
        (Answer(scores="sum(a)"), {"a": "x"}, "does not fit"),
    ],
)
def test_what_is_not_as_agreed_is_told(answer: Answer, body: object, sentence: str) -> None:
    with pytest.raises(Unread, match=sentence):
        read(answer, body)


@pytest.mark.parametrize(
    ("text", "sentence"), [("<!DOCTYPE html><p>", "HTML"), ("", "empty"), ("{", "no JSON"), ('{"z": [NaN]}', "no number")]
)
def test_what_is_no_json_is_told(text: str, sentence: str) -> None:
    with pytest.raises(Unread, match=sentence):
        Reader(Answer(scores="z")).read(text, 1)


def test_there_may_be_more_classes_than_the_data_name() -> None:
    reader = Reader(Answer(scores="z", classes=THREE))
    reader.read('{"z": [1, 2, 3, 4]}', 1)
    assert reader.classes == 4


def test_the_number_of_classes_must_not_change() -> None:
    reader = Reader(Answer(scores="z"))
    reader.read('{"z": [1, 2, 3]}', 1)
    with pytest.raises(Malformed, match="3 scores at first, and now 4"):
        reader.read('{"z": [1, 2, 3, 4]}', 1)
    with pytest.raises(Malformed, match="answered 2 scores, and 3 classes are named"):
        read(Answer(scores="z", classes=THREE), {"z": [1, 2]})
    with pytest.raises(Malformed, match="not among the classes"):
        read(Answer(scores="z", classes=THREE), {"z": {"cat": 1, "dog": 1, "bat": 1}})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "needs label, scores or accept"),
        ({"accept": "a", "label": "b"}, "two outcomes"),
        ({"confidence": "c", "label": "l"}, "needs classes"),
        ({"confidence": "c", "scores": "l", "label": "l"}, "scores say it already"),
        ({"label": "l", "classes": {"a": 0, "b": 2}}, "without a gap"),
        ({"label": "l", "refused_text": "("}, "no regular expression"),
    ],
)
def test_answers_that_cannot_be_meant_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadPlan, match=sentence):
        Answer(**settings)


def test_an_expression_is_checked_before_anything_is_sent() -> None:
    with pytest.raises(BadPlan, match=r"scores = 'a\[' is no JMESPath"):
        Reader(Answer(scores="a["))
