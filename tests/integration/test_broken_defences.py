"""Defences that the literature broke: a plain evaluation calls each robust, Vauban doubts it, and an attack that knows the defence breaks it."""

from __future__ import annotations

import pytest
from broken_defences import AWARE, DEFENCES, PLAIN, Defence, torch_target, undefended

from vauban.campaign.record import Finding

GRADIENTS = {
    "zero-gradients", "interrupted-graph", "quantised-input", "finite-differences-disagree", "noisy-loss-surface", "one-step-beats-many-step",
    "noise-beats-gradients", "scores-beat-gradients", "transfer-beats-gradients", "stopped-by-rejection", "unbounded-attack-fails",
}  # fmt: skip
"""Doubts about gradients, none of which an attack that is not misled deserves."""


@pytest.fixture(scope="module", params=sorted(DEFENCES))
def case(request: pytest.FixtureRequest) -> tuple[Defence, Finding]:
    defence = DEFENCES[request.param]()
    return defence, defence.attacked()


def names(found: Finding) -> set[str]:
    return {d.name for d in found.doubts}


def bare(eps: float) -> Finding:
    """The network without a defence, under an attack that is not misled."""
    target = torch_target(undefended())
    return Defence(target, frozenset(), (target, None, AWARE), eps=eps).adapted()


def test_a_plain_evaluation_calls_it_robust(case: tuple[Defence, Finding]) -> None:
    defence, found = case
    assert found.clean.value > 0.8
    assert found.robust_accuracy > max(0.55, bare(defence.eps).robust_accuracy + 0.1)


def test_its_number_is_doubted_for_the_right_reason(case: tuple[Defence, Finding]) -> None:
    defence, found = case
    assert defence.doubts <= names(found)


def test_an_attack_that_knows_it_brings_it_down_to_the_undefended(case: tuple[Defence, Finding]) -> None:
    defence, plain = case
    found = defence.adapted()
    assert found.robust_accuracy <= bare(defence.eps).robust_accuracy + 0.2
    assert found.robust_accuracy <= plain.robust_accuracy - 0.2
    if defence.trusted:
        assert not names(found) & GRADIENTS


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.2])
def test_the_undefended_network_is_not_doubted(eps: float) -> None:
    target = torch_target(undefended())
    assert not names(Defence(target, frozenset(), (target, None, AWARE), (PLAIN, AWARE), eps).attacked()) - {"too-few-rows"}
