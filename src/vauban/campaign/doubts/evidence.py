"""Doubts about the evidence: too few rows or questions, too little time, examples that did not hold."""

from __future__ import annotations

from vauban.campaign.budget import too_small
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.measure import rows_to_decide
from vauban.threat import Access

WIDE = 0.1
"""Without a promise to decide, an interval wider than this to either side says little."""


def too_few_rows(scene: Scene) -> Doubt | None:
    """The interval is too wide for the claim: it straddles the promise, or without one spans more than ten points either way."""
    rate = scene.robust
    if not rate.rows:
        return None
    low, high = rate.interval
    name = scene.siege.threat.name
    least = next((p.robust_accuracy for p in scene.plan.promises if p.threat == name and p.robust_accuracy is not None), None)
    if least is None:
        if high - low <= 2 * WIDE:
            return None
        return Doubt("too-few-rows", f"{rate.rows} rows place robust accuracy only within [{low:.0%}, {high:.0%}]")
    if not low < least <= high:
        return None
    need = rows_to_decide(rate.value, least, rate.level)
    more = f"about {need} would" if need and need > rate.rows else "no practical number would"
    return Doubt("too-few-rows", f"{rate.rows} rows cannot tell {rate.value:.1%} from the promised {least:.1%}; {more}")


def access_not_used(scene: Scene) -> Doubt | None:
    """The threat grants answers that no attack asked for: the number says how the model stands a weaker attacker."""
    granted = scene.siege.threat.access
    used = max((a.facts.access for a in scene.siege.attacks if not a.facts.proof), default=Access.NONE)
    if used >= granted:
        return None
    name = granted.name.lower()
    return Doubt(
        "access-not-used", f"the threat grants {name} access and no attack used it; name attacks that do, or grant {used.name.lower()}"
    )


def budget_too_small(scene: Scene) -> Doubt | None:
    """The budget ends every attack that asks the target before it has taken a step: the number is that of single guesses."""
    siege = scene.siege
    why = too_small(siege.threat, siege.attacks, siege.surrogate)
    return Doubt("budget-too-small", f"{why}; give more queries, or attacks that need none to find their way") if why else None


def time_limit(scene: Scene) -> Doubt | None:
    """An attack was cut short by the campaign's time limit."""
    if not scene.cut:
        return None
    limit = scene.siege.threat.seconds
    return Doubt("time-limit", f"the limit of {limit:g} seconds stopped {', '.join(scene.cut)}; a longer run may break more rows")


def unverified(scene: Scene) -> Doubt | None:
    """Examples that fooled the target once and not again; their rows count as standing."""
    if not scene.unverified:
        return None
    rows = "1 row has an example that" if scene.unverified == 1 else f"{scene.unverified} rows have an example each that"
    return Doubt("unverified", f"{rows} did not fool the target when asked again; counted as standing")
