"""Attacks on texts against truth: ranks worked out by hand, the best single edit by brute force, the first order where it is exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from text_worlds import SIGNS, encode
from torch import Tensor, nn

from vauban.attacks.text import find_text
from vauban.attacks.text.deep_word_bug import ranking
from vauban.attacks.text.operators import OPERATORS, edits
from vauban.doors.text import Play, TextFunction, TextOracle, TextRow, TextTorch, skeleton
from vauban.threat import Access, Edits, Threat

WEIGHTS = {"cash": 3.0, "prize": 2.0, "hello": -1.0, "now": 0.5, "today": 0.0}


def bag(texts: list[str]) -> Tensor:
    """A linear model over a bag of words: what is no word of its list counts nothing."""
    z = torch.tensor([sum(WEIGHTS.get(w, 0.0) for w in t.lower().split()) for t in texts])
    return torch.stack([torch.ones_like(z), z], 1)


def oracle(f: Callable[[list[str]], object], text: str, edits_: Edits, **options: object) -> TextOracle:
    target = TextFunction(f, outputs="logits")
    return TextOracle(target, [text], [1], Threat("t", edits_, Access.SCORE, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("importance", "order"),
    [("leave-one-out", ["cash", "prize", "now", "today", "hello"]), ("temporal", ["cash", "prize", "now", "today", "hello"])],
)
def test_words_rank_by_their_weights(importance: str, order: list[str]) -> None:
    seen: list[list[str]] = []

    def look(row: TextRow) -> Play:
        ranked = yield from ranking(row, importance)  # type: ignore[arg-type]
        seen.append([w.text for w in ranked])

    o = oracle(bag, "hello cash now prize today", Edits(1, ["homoglyph"]))
    with o.attacking("look", Access.SCORE):
        o.play(look)
    assert seen == [order]
    assert int(o.book.queries[0]) == (5 if importance == "leave-one-out" else 12)
    assert int(o.book.kinds["gradient"][0]) == int(o.book.queries[0])


def test_deep_word_bug_misspells_the_weightiest_word_first() -> None:
    o = oracle(bag, "cash now", Edits(1))
    find_text("deep-word-bug").bind()(o)  # type: ignore[arg-type]
    assert bool(o.book.broken[0])
    assert o.adversarial(0).endswith(" now")


def test_charmer_finds_the_best_single_edit_that_brute_force_finds() -> None:
    gain = {c: float(i * 11 % 37) for i, c in enumerate("abcdefghijklmnopqrstuvwxyz0123456789 ")}

    def model(texts: list[str]) -> Tensor:
        z = torch.tensor([sum((p + 1) * gain.get(c, 0.3) for p, c in enumerate(t)) for t in texts])
        return torch.stack([z, torch.full_like(z, 1e6)], 1)

    allowed = Edits(1, ["swap", "delete", "substitute"])
    o = oracle(model, "big cats", allowed)
    best = ""

    def every(row: TextRow) -> Play:
        nonlocal best
        texts = list(edits(row, row.clean, tuple(OPERATORS)))
        values = yield from row.score(texts)
        best = texts[values.index(max(values))]

    with o.attacking("every", Access.SCORE):
        o.play(every)
    asked: list[str] = []
    find_text("charmer").bind(places=99)(
        oracle(lambda texts: (asked.extend(texts), model(texts))[1], "big cats", allowed)  # type: ignore[arg-type]
    )
    brute = {"big cats"[:i] + c + "big cats"[i + 1 :] for i in range(8) for c in "abcdefghijklmnopqrstuvwxyz0123456789"}
    brute |= {"big cats"[:i] + "big cats"[i + 1 :] for i in range(8)}
    brute |= {"big cats"[:i] + "big cats"[i + 1] + "big cats"[i] + "big cats"[i + 2 :] for i in range(7)}
    z = model(sorted(brute))[:, 0]
    assert best == sorted(brute)[int(z.argmax())]
    assert best in asked


class Linear(nn.Module):
    """A weight for every character at every place: edits that keep the length change the score to first order exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(SIGNS) + 2, 4)
        self.head = nn.Linear(48 * 4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids).flatten(1))


def test_gains_are_the_differences_themselves_where_the_model_is_linear() -> None:
    torch.manual_seed(0)
    target = TextTorch(Linear(), encode, outputs="logits")
    text = "some plain words"
    label = int(target.labels([text])[0])
    o = TextOracle(target, [text], [label], Threat("t", Edits(1, ["substitute"], protected=["plain"]), Access.GRADIENT), settle="nearest")

    def margin(aim: object, z: Tensor) -> Tensor:
        return z[:, 1 - label] - z[:, label]

    def look(row: TextRow) -> Play:
        around = list(edits(row, row.clean, ("substitute",)))
        value, gains = yield from row.slope(row.clean, around, margin)
        z = target.scores(around)
        truth = (z[:, 1 - label] - z[:, label] - value).tolist()
        assert gains == pytest.approx(truth, abs=1e-5)
        assert all("plain" in t for t in around)

    with o.attacking("look", Access.GRADIENT):
        o.play(look)
    assert int(o.book.gradients[0]) == 1 and int(o.book.queries[0]) == 1


def test_one_hot_rows_need_no_embedding() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48 * (len(SIGNS) + 2), 2))
    torch.manual_seed(1)
    target = TextTorch(model, lambda texts: nn.functional.one_hot(encode(texts), len(SIGNS) + 2).float(), outputs="logits")
    text = "attack at dawn"
    label = int(target.labels([text])[0])
    o = TextOracle(target, [text], [label], Threat("t", Edits(14), Access.GRADIENT))
    find_text("hot-flip").bind()(o)  # type: ignore[arg-type]
    assert bool(o.book.broken[0])


def test_evolution_is_a_function_of_the_seed_and_the_row() -> None:
    def run(row: int, seed: int) -> list[str]:
        asked: list[str] = []

        def model(texts: list[str]) -> list[list[float]]:
            asked.extend(texts)
            return [[0.0, 5.0 + sum(map(ord, t)) % 7] for t in texts]

        target = TextFunction(model, outputs="logits")
        o = TextOracle(target, ["the lottery money"], [1], Threat("t", Edits(3), Access.SCORE), seed=seed, ids=torch.tensor([row]))
        find_text("bad-chars").bind(generations=2)(o)  # type: ignore[arg-type]
        return asked[1:]

    assert run(4, 0) == run(4, 0)
    assert run(4, 0) != run(5, 0)
    assert run(4, 0) != run(4, 1)
    assert len(run(4, 0)) == 32 * 3
    assert {skeleton(t) for t in run(4, 0)} == {"the lottery money"}, "a reader sees no difference"
