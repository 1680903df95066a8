"""The quorum: a vote that is missing never helps, whatever made it missing, and every asker gets the own answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vauban.errors import BadManifest, GuardDown
from vauban.guard.images import Picture
from vauban.guard.quorum import Manifest, Quorum, Vote
from vauban.guard.quorum.manifest import Golden, Input, Output
from vauban.guard.quorum.model import Floats, Levels, fed, log_odds
from vauban.guard.quorum.quorum import Member
from vauban.guard.quorum.votes import accepted

SIZE = (8, 8)


@dataclass(eq=False)
class Fake:
    """A model that answers with the brightness of the first pixel, from -1 to 1, or as it is told."""

    name: str
    trouble: Callable[[], Any] | None = None
    wait: float = 0.0
    deaf: threading.Event | None = None  # it hears nothing until this is set
    begun: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def manifest(self) -> Manifest:
        inputs = np.stack([np.full((*SIZE, 3), level, np.uint8) for level in (0, 255)])
        import base64

        golden = Golden(inputs=base64.b64encode(inputs.tobytes()).decode(), scores=(-1.0, 1.0))
        told = {"model": self.name, "sha256": self.name, "threshold": 0.0, "golden": golden}
        return Manifest.model_construct(**told, input=Input(name="x", height=8, width=8), output=Output(name="y"))

    def scores(self, levels: Levels) -> Floats:
        self.begun.set()
        if self.deaf:
            self.deaf.wait(60)
        if self.wait:
            self.stopped.wait(self.wait)
            self.stopped.clear()
        told = self.trouble() if self.trouble else None
        return levels[:, 0, 0, 0] / 127.5 - 1 if told is None else np.full(len(levels), told)

    def stop(self) -> None:
        self.stopped.set()


def picture(level: int) -> Picture:
    return Picture.of([np.full((*SIZE, 3), level, np.uint8)])


@pytest.fixture
def models() -> list[Fake]:
    return [Fake("a"), Fake("b"), Fake("c")]


@pytest.fixture
def quorum(models: list[Fake]) -> Iterator[Quorum]:
    made = Quorum(models, timeout=0.3)
    yield made
    made.close()


def fails() -> float:
    raise RuntimeError("the runtime broke")


TROUBLES = {"nan": lambda: np.nan, "inf": lambda: np.inf, "minus inf": lambda: -np.inf, "failed": fails}


@pytest.mark.parametrize("way", ["unanimous", "majority"])
def test_a_missing_vote_counts_as_one_against(way: Any) -> None:
    for said in itertools.product([True, False, None], repeat=3):
        votes = [Vote(str(i), None if s is None else 1.0, s) for i, s in enumerate(said)]
        against = [Vote(v.model, 1.0, bool(v.accept)) for v in votes]
        assert accepted(votes, way, 3) == accepted(against, way, 3)
        assert not accepted(votes, way, 3) or said.count(True) >= 2


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_model_in_trouble_does_not_help(quorum: Quorum, models: list[Fake], trouble: str) -> None:
    assert quorum.ask(picture(255)).accept
    models[1].trouble = TROUBLES[trouble]
    verdict = quorum.ask(picture(255))
    assert not verdict.accept
    assert verdict.missing == ("b",)
    assert verdict.votes[1].score is verdict.votes[1].accept is verdict.votes[1].quantised is None
    models[1].trouble = None
    assert quorum.ask(picture(255)).accept


def test_a_late_model_does_not_help_and_is_told_to_stop(quorum: Quorum, models: list[Fake]) -> None:
    models[2].wait, began = 60.0, time.monotonic()
    verdict = quorum.ask(picture(255))
    assert time.monotonic() - began < 2
    assert (verdict.accept, verdict.missing, verdict.votes[2].why) == (False, ("c",), "was late")
    models[2].wait = 0.0
    time.sleep(0.05)
    assert quorum.ask(picture(255)).accept, "what was late is not the answer to the next question"


def test_what_is_late_is_not_the_answer_to_another_question(quorum: Quorum, models: list[Fake]) -> None:
    models[0].deaf = threading.Event()
    assert quorum.ask(picture(255)).missing == ("a",)
    models[0].deaf.set()
    for _ in range(20):
        verdict = quorum.ask(picture(0))
        assert not any(v.accept for v in verdict.votes)


def test_giving_up_one_question_does_not_stop_another() -> None:
    model = Fake("a")
    member = Member(model)
    first = member.ask(picture(255).pixels[SIZE][None])
    first.result(5)
    model.wait = 60.0
    model.begun.clear()
    second = member.ask(picture(255).pixels[SIZE][None])
    assert model.begun.wait(30)
    member.give_up(first)
    assert not second.done()
    assert not model.stopped.is_set()
    member.give_up(second)
    assert second.result(30)[0] == 1.0, "it was told to stop, and did"
    member.end()


def test_fewer_than_must_answer_is_no_decision(quorum: Quorum, models: list[Fake]) -> None:
    models[0].trouble = models[1].trouble = TROUBLES["nan"]
    with pytest.raises(GuardDown, match="1 of 3 answered, 2 must"):
        quorum.ask(picture(255))
    with pytest.raises(GuardDown):
        quorum.ask(picture(0))


def test_most_may_be_enough(models: list[Fake]) -> None:
    quorum = Quorum(models, vote="majority")
    models[0].trouble = lambda: -1.0
    assert quorum.ask(picture(255)).accept
    assert quorum.ask(picture(255)).split
    models[1].trouble = TROUBLES["nan"]
    assert not quorum.ask(picture(255)).accept, "one for, one against, one missing"
    quorum.close()


def test_a_model_that_no_longer_answers_its_golden_inputs_is_not_asked(quorum: Quorum, models: list[Fake]) -> None:
    models[1].trouble = lambda: 0.9
    assert list(quorum.examine()) == ["b"] == list(quorum.out)
    verdict = quorum.ask(picture(255))
    assert verdict.accept
    assert [v.model for v in verdict.votes] == ["a", "c"]
    models[2].trouble = lambda: -1.0
    assert not quorum.ask(picture(255)).accept
    models[2].trouble = fails
    with pytest.raises(GuardDown, match="b is out of service"):
        quorum.ask(picture(255))
    models[1].trouble = models[2].trouble = None
    assert quorum.examine() == {}
    assert len(quorum.ask(picture(255)).votes) == 3


@pytest.mark.parametrize("trouble", TROUBLES)
def test_nothing_starts_with_a_model_that_answers_otherwise(models: list[Fake], trouble: str) -> None:
    models[0].trouble = TROUBLES[trouble]
    with pytest.raises(BadManifest, match=r"model a|broke"):
        Quorum(models)


def test_one_model_twice_is_no_quorum() -> None:
    with pytest.raises(BadManifest, match="twice"):
        Quorum([Fake("a"), Fake("a")])
    with pytest.raises(BadManifest, match="1 models, and"):
        Quorum([Fake("a")])
    with pytest.raises(BadManifest, match="none"):
        Quorum([], least=0)


def test_everyone_gets_the_own_answer(quorum: Quorum) -> None:
    quorum.timeout, wrong = 20.0, list[int]()

    def ask(level: int) -> None:
        for _ in range(50):
            score = quorum.ask(picture(level)).votes[0].score
            if score is None or abs(score - (level / 127.5 - 1)) > 1e-9:
                wrong.append(level)

    threads = [threading.Thread(target=ask, args=(level,)) for level in range(0, 256, 16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_flood_waits_no_longer_than_its_time(quorum: Quorum, models: list[Fake]) -> None:
    for model in models:
        model.wait = 0.05
    took, answers = list[float](), list[str]()

    def ask() -> None:
        began = time.monotonic()
        try:
            answers.append("yes" if quorum.ask(picture(255)).accept else "no")
        except GuardDown:
            answers.append("down")
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 100
    assert {"yes", "down"} <= set(answers)
    assert max(took) < 3


KINDS = st.sampled_from(["logits", "probabilities", "logit", "probability"])


@given(kind=KINDS, classes=st.integers(2, 5), live=st.integers(0, 4), seed=st.integers(0, 999))
def test_the_score_is_the_log_odds_of_live(kind: Any, classes: int, live: int, seed: int) -> None:
    z = np.random.default_rng(seed).normal(0, 3, (7, classes))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    live %= 2 if "s" not in kind[-1] else classes
    if kind in ("logit", "probability"):
        z, p = z[:, :1], 1 / (1 + np.exp(-z[:, :1]))
        truth = (1 if live else -1) * z[:, 0]
    else:
        truth = np.log(p[:, live] / (1 - p[:, live]))
    answer = z if kind.startswith("logit") else p
    assert np.allclose(log_odds(answer, Output(name="y", kind=kind, live=live)), truth, atol=1e-5)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_no_score(kind: Any, bad: float) -> None:
    answer = np.array([[0.5, 0.5], [bad, 0.5], [0.5, bad]])
    assert np.isnan(log_odds(answer, Output(name="y", kind=kind))).tolist() == [False, True, True]


def test_probabilities_that_are_none_are_no_score() -> None:
    answer = np.array([[0.9, 0.9], [1.5, -0.5], [0.0, 0.0]])
    assert np.isnan(log_odds(answer, Output(name="y", kind="probabilities"))).all()
    assert np.isfinite(log_odds(np.array([[1.0, 0.0]]), Output(name="y", kind="probabilities"))).all()


def test_an_answer_of_another_shape_is_a_failure() -> None:
    for kind, live, shape in (("logits", 2, (1, 2)), ("logit", 1, (1, 2)), ("logits", 0, (1, 1))):
        with pytest.raises(GuardDown, match="numbers for each input"):
            log_odds(np.zeros(shape), Output(name="y", kind=kind, live=live))  # pyright: ignore


def test_what_a_model_is_fed_is_levels_normalised() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    x = fed(levels, Input(name="x", height=8, width=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))
    assert x.dtype == np.float32
    assert np.isclose(x[1, 2, 3, 4], (levels[1, 3, 4, 2] / 255 - 0.3) / 0.7)
    grey = fed(levels, Input(name="x", channels=1, height=8, width=8))
    assert grey.shape == (2, 1, 8, 8)
    assert np.isclose(grey[0, 0, 1, 1], levels[0, 1, 1] @ [0.299, 0.587, 0.114] / 255)
