"""A real server that fails in every way: what passes is tried again, what does not is told in a sentence, and every request is counted."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from endpoints import LIST, QUICK, SHORT, Endpoint, scores

from vauban.errors import (
    AccessDenied,
    BadEndpoint,
    BadRequest,
    BudgetSpent,
    Malformed,
    NotAuthorised,
    RateLimited,
    Unreachable,
)
from vauban.target import restrict
from vauban.target.http import Answer, Authorisation, Budget, Cost, Http, Rate, Request, Retry

THREE = ("cat", "dog", "owl")
SOUND = Answer(scores="result.scores", outputs="logits")


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    server = Endpoint()
    yield server
    server.close()


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    server.reset()
    return server


def batch(rows: int = 4, shape: tuple[int, ...] = (1, 4, 4), seed: int = 0) -> torch.Tensor:
    x = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(seed))
    return (x * 255).round() / 255


def truth(x: torch.Tensor) -> np.ndarray:
    return np.stack([scores(row) for row in x.numpy()])


# ---- what is asked, and how it is answered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "request_", "answer"),
    [
        ("list/scores", LIST, SOUND),
        ("png/scores", Request(encode="png"), SOUND),
        ("npy/scores", Request(encode="npy"), SOUND),
        ("npy/scores", Request(encode="npy", integers=False, body={"input": "<row>", "model": "m"}), SOUND),
        ("text/scores", Request(encode="png", body={"input": "data:image/png;base64,<row>"}), SOUND),
        ("upload/scores", Request(encode="png", multipart="image", form={"kind": "test"}), SOUND),
        ("png/scores", Request(encode="png", batch=3, item={"b64": "<row>"}), Answer(rows="predictions", scores="result.scores")),
        ("list/probabilities", LIST, Answer(scores="p", outputs="probabilities")),
        ("list/named", LIST, Answer(scores="p", outputs="probabilities", classes=THREE)),
        ("list/top", LIST, Answer(label="label", confidence="confidence", classes=THREE)),
        ("list/pairs", LIST, Answer(scores="top[].[name, p]", outputs="probabilities", classes=THREE)),
        ("list/label", LIST, Answer(label="label", classes=THREE)),
        ("list/number", LIST, Answer(label="label")),
    ],
)
def test_every_way_to_ask_gets_the_models_answer(endpoint: Endpoint, path: str, request_: Request, answer: Answer) -> None:
    x = batch(7)
    target = endpoint.target(path, request=request_, answer=answer)
    assert target.labels(x).tolist() == truth(x).argmax(1).tolist()
    assert len(endpoint.log) == target.bill.attempts == target.bill.requests == -(-7 // request_.batch)
    assert target.bill.answered == target.bill.rows == 7
    if "scores" in path:
        assert np.allclose(target.scores(x).numpy(), truth(x), atol=1e-5)


def test_an_endpoint_that_accepts_or_rejects_has_two_classes(endpoint: Endpoint) -> None:
    x = batch(8)
    target = endpoint.target("list/gate", answer=Answer(accept="decision == 'live'"))
    assert target.labels(x).tolist() == (truth(x).argmax(1) == 1).astype(int).tolist()
    assert target.classes == 2


def test_one_score_is_a_binary_model(endpoint: Endpoint) -> None:
    x = batch(8)
    target = endpoint.target("list/binary", answer=Answer(scores="p", outputs="sigmoid"))
    assert target.labels(x).tolist() == (truth(x)[:, 0] > 0).astype(int).tolist()
    assert target.scores(x).shape == (8, 2)


def test_the_class_that_the_endpoint_names_counts_whatever_its_scores_say(endpoint: Endpoint) -> None:
    x = batch(8)
    target = endpoint.target("list/tuned", answer=Answer(scores="p", label="label", classes=THREE, outputs="probabilities"))
    second = truth(x).argsort(1)[:, -2]
    assert target.scores(x).argmax(1).tolist() == target.labels(x).tolist() == second.tolist()


def test_what_the_scores_are_is_recognised_on_clean_inputs(endpoint: Endpoint) -> None:
    target = endpoint.target("list/probabilities", answer=Answer(scores="p"))
    target.prepare(batch(40))
    assert target.outputs == "probabilities" and target.classes == 3
    assert len(endpoint.log) == 12, "four rows, three times each"
    target.prepare(batch(40))
    assert len(endpoint.log) == 12, "it is looked at once"


def test_a_restricted_endpoint_still_rounds_and_refuses(endpoint: Endpoint) -> None:
    target = restrict(endpoint.target("png/scores", request=Request()), "label")
    x = torch.full((2, 1, 4, 4), 0.3001)
    assert torch.equal(target.wire(x), (x * 255).round() / 255)
    assert target.refuses and target.metered


# ---- what passes --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    ["429 0.05", "reset 0.05", "500", "502", "503", "408", "html", "lie", "nan", "cut", "drop", "hang 0.8", "crawl 2", "huge 50000"],
)
def test_what_passes_is_tried_again_and_counted(endpoint: Endpoint, fault: str) -> None:
    x = batch(1)
    target = endpoint.target(timeout=type(SHORT)(connect=2.0, read=0.4, total=0.6, largest=10_000), cost=Cost(per_request=1.0))
    endpoint.faults(fault, fault)
    assert np.allclose(target.scores(x).numpy(), truth(x))
    bill = target.bill
    assert len(endpoint.log) == bill.attempts == 3
    assert (bill.requests, bill.answered, bill.failed, bill.lost) == (1, 1, 0, 0)
    assert bill.money == (1.0 if fault[:3] in ("429", "503", "res") else 3.0), "what was turned away is not paid for"


def test_retry_after_is_waited_for_by_all(endpoint: Endpoint) -> None:
    target = endpoint.target(rate=Rate(concurrency=3), retry=Retry(attempts=4, first=0.0, most=0.0))
    target.scores(batch(1))
    endpoint.faults("429 0.4")
    began = time.time()
    target.scores(batch(9, seed=1))
    turned_away = next(line["at"] for line in endpoint.log if line["fault"])
    late = [line["at"] for line in endpoint.log if line["at"] > turned_away + 0.1]
    assert late and min(late) >= turned_away + 0.39
    assert time.time() - began < 3
    assert len(endpoint.log) == target.bill.attempts == 11


def test_requests_keep_the_pace(endpoint: Endpoint) -> None:
    target = endpoint.target(rate=Rate(concurrency=8, per_second=50))
    target.scores(batch(16))
    times = [line["at"] for line in endpoint.log]
    assert max(times) - min(times) > 0.7 * 15 / 50


def test_no_more_requests_are_under_way_than_allowed(endpoint: Endpoint) -> None:
    endpoint.delay(0.05)
    one = endpoint.target(rate=Rate(concurrency=1))
    began = time.perf_counter()
    one.scores(batch(8))
    alone = time.perf_counter() - began
    assert alone > 8 * 0.05
    many = endpoint.target(rate=Rate(concurrency=8))
    many.scores(batch(1))
    began = time.perf_counter()
    many.scores(batch(8, seed=2))
    assert time.perf_counter() - began < 0.7 * alone


def test_a_redirection_within_the_authorisation_is_followed_and_counted(endpoint: Endpoint) -> None:
    target = endpoint.target("list/label")
    endpoint.faults(f"307 {endpoint.url('list/scores')}")
    assert np.allclose(target.scores(batch(2)).numpy(), truth(batch(2)))
    assert len(endpoint.log) == target.bill.attempts


# ---- what does not ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kind", "sentence", "requests"),
    [
        (["401"], AccessDenied, "401 Unauthorized.*credentials", 1),
        (["403"], AccessDenied, "403 Forbidden.*refused_status", 1),
        (["400"], BadRequest, "400 Bad Request.*not as the endpoint wants it", 1),
        (["404"], BadRequest, "404 Not Found", 1),
        (["422"], BadRequest, "422", 1),
        (["always lie"], Malformed, "the first 3 answers cannot be read.*finds nothing.*verdict", 3),
        (["always html"], Malformed, "HTML page.*Please log in", 3),
        (["always nan"], Malformed, "no number", 3),
        (["always 500"], Unreachable, "no request was answered, each after 4 attempts.*500 Internal", 4),
        (["always drop"], Unreachable, "the connection broke off", 4),
        (["always cut"], Unreachable, "the connection broke off", 4),
        (["always hang 0.8"], Unreachable, "nothing came for 0.5 seconds", 4),
        (["always 429 1000"], RateLimited, "asks to wait 1,000 seconds.*goes on from the journal", 1),
        (["301 /elsewhere"], BadRequest, "sending on to .*give that address", 1),
        (["307 http://evil.example/x"], NotAuthorised, "evil.example.*nothing was sent there", 1),
        (["302 https://evil.example/x"], NotAuthorised, "evil.example", 1),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_told_in_a_sentence(
    endpoint: Endpoint, faults: list[str], kind: type[Exception], sentence: str, requests: int
) -> None:
    target = endpoint.target()
    endpoint.faults(*faults)
    with pytest.raises(kind, match=f"127.0.0.1.*{sentence}"):
        target.scores(batch(1))
    assert len(endpoint.log) == target.bill.attempts == requests
    assert target.bill.lost == 0


def test_nobody_there_is_told(endpoint: Endpoint) -> None:
    target = Http(
        "http://127.0.0.1:9/x", Authorisation("Nobody listens at this port.", ("127.0.0.1",)), answer=SOUND, request=LIST, retry=QUICK
    )
    with pytest.raises(Unreachable, match="no connection"):
        target.scores(batch(1))


def test_another_number_of_classes_is_told_at_once(endpoint: Endpoint) -> None:
    target = endpoint.target()
    target.scores(batch(2))
    endpoint.faults("classes 4")
    with pytest.raises(Malformed, match="3 scores at first, and now 4"):
        target.scores(batch(1, seed=3))
    assert len(endpoint.log) == target.bill.attempts == 3


def test_a_question_that_fails_is_nan_and_minus_one_until_too_many_do(endpoint: Endpoint) -> None:
    target = endpoint.target(rate=Rate(concurrency=1))
    x = batch(3)
    target.scores(x)
    endpoint.faults(*["500"] * 4)
    z = target.scores(x)
    assert torch.isnan(z).all(1).tolist() == [True, False, False]
    endpoint.faults(*["html"] * 4)
    assert target.labels(x).tolist() == [-1, *truth(x).argmax(1)[1:].tolist()]
    assert target.bill.failed == 2
    endpoint.faults("always 500")
    with pytest.raises(Unreachable, match="2 requests in a row failed"):
        target.scores(x)
    assert len(endpoint.log) == target.bill.attempts
    assert target.bill.failed == 2, "what fails while an endpoint is down is asked again later"


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("403", {"refused_status": (403,)}),
        ("refuse", {"refused_if": "blocked"}),
        ("403", {"refused_text": "code.*blocked"}),
    ],
)
def test_a_refusal_is_no_answer_and_no_failure(endpoint: Endpoint, fault: str, more: dict[str, Any]) -> None:
    target = endpoint.target(answer=Answer(scores="result.scores", outputs="logits", **more), rate=Rate(concurrency=1))
    x = batch(3)
    endpoint.faults("", fault, "")
    assert torch.isnan(target.scores(x)).any(1).tolist() == [False, True, False]
    assert (target.bill.answered, target.bill.refused, target.bill.failed, target.bill.attempts) == (2, 1, 0, 3)
    endpoint.faults(f"always {fault}")
    with pytest.raises(BadEndpoint, match="refused or failed on all"):
        target.prepare(x)


def test_a_budget_stops_in_time(endpoint: Endpoint) -> None:
    target = endpoint.target(budget=Budget(requests=5), rate=Rate(concurrency=4))
    with pytest.raises(BudgetSpent, match="budget of 5 requests"):
        target.scores(batch(9))
    assert len(endpoint.log) <= target.bill.attempts == 5


def test_secrets_are_sent_and_never_told(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_TOKEN", "open-sesame-42")
    asked = Request(encode="list", headers={"Authorization": "Bearer ${TEST_TOKEN}"}, query={"key": "${TEST_TOKEN}"})
    target = endpoint.target(request=asked, journal=tmp_path / "j")
    target.scores(batch(1))
    (line,) = endpoint.log
    assert line["authorisation"] == "Bearer open-sesame-42" and line["path"].endswith("?key=open-sesame-42")
    for fault in ("401", "always 500"):
        endpoint.faults(fault)
        with pytest.raises(BadEndpoint, match=r"no: Bearer \[secret\]") as error:
            for seed in range(3):
                target.scores(batch(1, seed=seed + 7))
        assert "sesame" not in str(error.value)
    target.close()
    assert b"sesame" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


# ---- the journal --------------------------------------------------------------------------------------------------------------------------


def test_an_answered_question_is_never_asked_again(endpoint: Endpoint, tmp_path: Path) -> None:
    x = batch(6)
    first = endpoint.target(journal=tmp_path / "j")
    z = first.scores(x)
    first.close()
    assert len(endpoint.log) == 6
    again = endpoint.target(journal=tmp_path / "j")
    assert torch.equal(again.scores(x), z) and len(endpoint.log) == 6
    assert again.bill.replayed == 6 and again.bill.attempts == 6
    again.scores(x[:2])
    assert len(endpoint.log) == 8, "the second question about the same bytes is a question of its own"
    again.close()


def test_an_endpoint_that_is_not_deterministic_repeats_itself_from_the_journal(endpoint: Endpoint, tmp_path: Path) -> None:
    x = batch(4)
    first = endpoint.target("list/noisy", journal=tmp_path / "j", randomised=True)
    first.prepare(x)
    assert first.steadiness is not None and first.steadiness.moved == 1.0 and first.steadiness.repeats == 3
    answers = [first.scores(x) for _ in range(3)]
    assert not torch.equal(answers[0], answers[1])
    first.close()
    asked = len(endpoint.log)
    again = endpoint.target("list/noisy", journal=tmp_path / "j", randomised=True)
    again.prepare(x)
    assert again.steadiness == first.steadiness
    assert all(torch.equal(again.scores(x), z) for z in answers)
    assert len(endpoint.log) == asked
    again.close()


def test_a_steady_endpoint_is_known_to_be(endpoint: Endpoint) -> None:
    target = endpoint.target()
    target.prepare(batch(4))
    assert target.steadiness is not None and target.steadiness.flips == target.steadiness.moved == 0.0


def test_a_target_that_is_forgotten_lets_go_of_its_journal(endpoint: Endpoint, tmp_path: Path) -> None:
    target = endpoint.target(journal=tmp_path / "j")
    target.scores(batch(2))
    journal = target._opened().ledger.journal
    del target
    gc.collect()
    assert journal._db is None


def test_requests_of_several_rows_are_resumed_row_by_row(endpoint: Endpoint, tmp_path: Path) -> None:
    many = {"request": Request(encode="list", batch=3), "answer": Answer(rows="predictions", scores="result.scores", outputs="logits")}
    x = batch(7)
    first = endpoint.target(journal=tmp_path / "j", **many)
    first.scores(x[[0, 2, 5]])
    first.close()
    endpoint.reset()
    again = endpoint.target(journal=tmp_path / "j", **many)
    assert np.allclose(again.scores(x).numpy(), truth(x))
    assert [len(line["rows"]) for line in endpoint.log] in ([3, 1], [1, 3])
    again.close()
