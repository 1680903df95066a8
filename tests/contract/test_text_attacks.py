"""The contract that every registered attack on texts faces, on a model whose answer is known by construction."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from text_worlds import LEAST, NAMES, OPTIMISERS, TextWorld, besiege, text_world, threat

from vauban.attacks.text import TEXT_ATTACKS
from vauban.doors.text import TextFunction, TextOracle
from vauban.errors import BadPlan, NotGranted
from vauban.threat import Access, Goal

every = pytest.mark.parametrize("name", NAMES)
optimiser = pytest.mark.parametrize("name", OPTIMISERS)


def asking(w: TextWorld) -> list[str]:
    """Every text that the target is asked about from now on."""
    asked: list[str] = []
    scores, slope = w.target.scores, w.target.slope
    w.target.scores = lambda texts: (asked.extend(texts), scores(texts))[1]  # type: ignore[method-assign]
    w.target.slope = lambda texts, objective: (asked.extend(texts), slope(texts, objective))[1]  # type: ignore[method-assign]
    return asked


@optimiser
def test_finds_what_exists(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    assert besiege(w, attack, threat(attack, 4)).book.broken.all()


@every
def test_never_more_edits_than_allowed_and_never_fewer_than_needed(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    o = besiege(w, attack, threat(attack, 4))
    for row in o.book.broken.nonzero()[:, 0].tolist():
        text, size = o.adversarial(row), float(o.book.distance[row])
        assert LEAST[row] <= size <= 4
        assert o.rulers[row].distance(text) == size
        assert int(w.target.labels([text])) == 0


@every
def test_finds_nothing_where_nothing_is(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    one = dataclasses.replace(w, texts=w.texts[2:3], labels=(1,))
    assert not besiege(one, attack, threat(attack, 1)).book.broken.any(), "two words cannot be hidden with one edit"


@every
@pytest.mark.parametrize("budget", [0, 1, 2, 3, 7])
def test_never_overspends(name: str, budget: int) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    one = dataclasses.replace(w, texts=(w.texts[2],) * 3, labels=(1,) * 3)  # out of reach with one edit, so that everything is spent
    o = TextOracle(one.target, one.texts, one.labels, threat(attack, 1, queries=budget, gradients=budget))
    asked = asking(w)
    attack(o)  # type: ignore[arg-type]
    assert (o.book.queries <= budget).all()
    assert (o.book.gradients <= budget).all()
    assert len(asked) == int(o.book.queries.sum()), "every text that the target reads is charged to its row"
    assert torch.equal(sum(o.book.kinds.values()), o.book.queries)  # type: ignore[arg-type]
    if not TEXT_ATTACKS[name].facts.baseline and attack.facts.access < Access.GRADIENT:
        assert (o.book.queries == budget).all(), "an oversized question is trimmed to the last one and never dropped"


@every
def test_its_share_of_the_budget_is_kept(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind().spending(2)
    o = TextOracle(w.target, w.texts, w.labels, threat(attack, 1, queries=3))
    attack(o)  # type: ignore[arg-type]
    assert (o.book.queries <= 2).all()
    attack(o)  # type: ignore[arg-type]
    assert (o.book.queries <= 3).all()
    assert o.book.attempts[1].name == f"{name}#2"


@every
def test_a_row_does_not_feel_its_batch(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    t = threat(attack, 3)
    o = besiege(w, attack, t)
    for row in (3, 0, 2):
        one = dataclasses.replace(w, texts=w.texts[row : row + 1], labels=(1,))
        alone = besiege(one, attack, t, ids=torch.tensor([row]), max_rows=1)
        assert alone.adversarial(0) == o.adversarial(row)
        assert int(alone.book.queries[0]) == int(o.book.queries[row])
        assert int(alone.book.first[0]) == int(o.book.first[row])


@every
def test_order_chunks_and_rows_that_are_not_attacked_change_nothing(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    t, order = threat(attack, 3), torch.tensor([2, 1, 3, 0])
    o = besiege(w, attack, t)
    mixed = dataclasses.replace(w, texts=tuple(w.texts[i] for i in order), labels=(0, 1, 1, 1))
    s = besiege(mixed, attack, t, ids=order, max_rows=2)
    assert torch.equal(s.book.queries[1:], o.book.queries[order[1:]])
    assert [s.adversarial(i) for i in (1, 2, 3)] == [o.adversarial(int(order[i])) for i in (1, 2, 3)]


@every
def test_protected_words_stay(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    o = besiege(w, attack, threat(attack, 3, protected=("Lottery",)))
    assert not o.book.broken[[0, 2, 3]].any(), "the word that gives them away may not be touched"
    for row in range(len(w.texts)):
        if "lottery" in w.texts[row]:
            assert "lottery" in o.adversarial(row)


@optimiser
def test_only_allowed_families_are_used(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    family = "homoglyph" if name == "bad-chars" else "swap"
    o = besiege(w, attack, threat(attack, 3, families=(family,)))
    assert o.book.broken[0]
    for row in o.book.broken.nonzero()[:, 0].tolist():
        if family == "swap":
            assert sorted(o.adversarial(row)) == sorted(w.texts[row])
        else:
            assert len(o.adversarial(row)) == len(w.texts[row])


@every
def test_needs_no_more_access_than_it_declares(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    besiege(w, attack, threat(attack, 2))
    if attack.facts.access > Access.NONE:
        with pytest.raises(NotGranted):
            besiege(w, attack, threat(attack, 2, access=Access(attack.facts.access - 1)))


@optimiser
@pytest.mark.parametrize("goal", [Goal(wanted=0), Goal.directional(1, 0), Goal(wanted=(0, 0, 0, 0))], ids=["wanted", "directional", "each"])
def test_goals_are_met_as_stated(name: str, goal: Goal) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    o = besiege(w, attack, threat(attack, 4, goal=goal))
    assert o.book.broken.all()


@every
def test_a_goal_out_of_reach_is_not_met_by_any_other_error(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    assert not besiege(w, attack, threat(attack, 3, goal=Goal(wanted=2))).book.broken.any()


@every
def test_not_a_number_never_wins(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    o = TextOracle(w.target, w.texts, w.labels, threat(attack, 3))
    scores, slope = w.target.scores, w.target.slope
    w.target.scores = lambda texts: scores(texts) * math.nan  # type: ignore[method-assign]
    w.target.slope = lambda texts, objective: (scores(texts) * math.nan, slope(texts, objective)[1])  # type: ignore[method-assign]
    attack(o)  # type: ignore[arg-type]
    assert not o.book.broken.any()
    assert o.book.nonfinite.any()


@every
def test_settles_when_nothing_is_left(name: str) -> None:
    w, attack = text_world(), TEXT_ATTACKS[name].bind()
    wrong = TextOracle(w.target, w.texts, (0,) * 4, threat(attack, 3))
    asked = asking(w)
    attack(wrong)  # type: ignore[arg-type]
    assert wrong.book.broken.all() and not asked, "a misclassified text is broken untouched and never attacked"


@every
def test_one_letter_one_word_and_non_ascii_texts_work(name: str) -> None:
    attack = TEXT_ATTACKS[name].bind()
    target = TextFunction(lambda texts: [int("z" in t) for t in texts], access="label", classes=2)
    if attack.facts.access <= Access.LABEL:
        texts = ("a", "héllo wörld", "ab", "日本語", "don't", "x" * 30)
        TextOracle(target, texts, (0,) * 6, threat(attack, 2))
    scored = TextFunction(lambda texts: [[0.5, float("z" in t)] for t in texts], outputs="logits")
    if attack.facts.access <= Access.SCORE:
        o = TextOracle(scored, ("a", "héllo wörld", "ab", "日本語", "don't", "x" * 30), (0,) * 6, threat(attack, 2))
        attack(o)  # type: ignore[arg-type]
        assert (o.book.distance[o.book.broken] <= 2).all()


@every
def test_a_threat_without_its_edits_is_refused(name: str) -> None:
    from vauban.attacks.text.registry import FAMILIES
    from vauban.threat import FAMILIES as ALL

    attack = TEXT_ATTACKS[name].bind()
    others = tuple(f for f in ALL if f not in FAMILIES[name])
    if FAMILIES[name] and others:
        with pytest.raises(BadPlan, match="allows none of them"):
            besiege(text_world(), attack, threat(attack, 2, families=others))
