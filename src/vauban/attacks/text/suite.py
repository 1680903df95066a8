"""The default attacks on texts, in the order in which they run over one oracle: what is cheap first."""

from __future__ import annotations

from vauban.attacks.registry import Attack
from vauban.attacks.text.registry import able, find_text
from vauban.threat import Threat

ORDER = ("homoglyphs", "invisible", "hot-flip", "deep-word-bug", "text-bugger", "bad-chars", "charmer", "pruthi")


def text_suite(threat: Threat) -> tuple[Attack, ...]:
    """Of all attacks on texts, those that can act under a threat, with their defaults."""
    return able([find_text(name).bind() for name in ORDER], threat)
