"""OARS: query attacks against a service that remembers its questions and refuses what resembles them."""

from __future__ import annotations

import inspect
from typing import Any, cast, get_type_hints

from vauban.attacks.evasion.decision.hop_skip_jump import hop_skip_jump
from vauban.attacks.evasion.score.nes import nes
from vauban.attacks.evasion.score.square import square
from vauban.attacks.parts.dithered import Dithered
from vauban.attacks.registry import Count, Recipe, Share, preset
from vauban.doors import Oracle

PAPER = "Feng et al. 2023, arXiv:2307.16331, section 4"


def evasive(base: Recipe[...]) -> Recipe[...]:
    """A query attack that spreads its questions as far as the service demands, with its own settings and four more.

    Before the attack, bisection of `rounds` times `looks` questions finds the least noise with which no more than a share `refusals` of them is
    refused; none, at the price of one question, where the clean input may be asked about again. A question that is refused during the attack is
    asked again with other noise, at most `tries` times, and a search for the boundary ends at its first refusal.

    It is not registered: give it to `preset`, with a name.
    """

    def run(o: Oracle, tries: Count = 3, rounds: Count = 6, looks: Count = 5, refusals: Share = 0.05, **settings: Any) -> None:
        seen = Dithered(o, tries)
        seen.tune(rounds, looks, refusals)
        base.function(cast("Oracle", seen), **settings)

    o, *own = [p for p in inspect.signature(run).parameters.values() if p.kind is not p.VAR_KEYWORD]
    bare = cast("Any", run)
    bare.__doc__ = base.function.__doc__
    bare.__signature__ = inspect.Signature([o, *base.parameters.values(), *own])
    bare.__annotations__ = get_type_hints(run, include_extras=True) | get_type_hints(base.function, include_extras=True)
    return Recipe(base.facts, run)


oars_square = preset(
    "oars-square",
    "Square whose questions are spread by the noise that a stateful defence lets pass.",
    evasive(square),
    paper=PAPER,
    on=("linf",),
)
oars_nes = preset(
    "oars-nes",
    "NES with far probes, whose questions are spread by the noise that a stateful defence lets pass.",
    evasive(nes),
    paper=PAPER,
    reach=0.5,
)
oars_hop_skip_jump = preset(
    "oars-hop-skip-jump",
    "HopSkipJump with far probes, whose questions are spread by the noise that a stateful defence lets pass.",
    evasive(hop_skip_jump),
    paper=PAPER,
    theta=0.03,
)
