"""Two records, row by row: did the model get better or worse, and is the difference more than chance? Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from vauban.campaign.cards import ThreatCard
from vauban.campaign.record import Finding, Record
from vauban.campaign.verdict import Judgement, Verdict
from vauban.measure import mcnemar
from vauban.measure.rate import Rate

ROBUST, CLEAN = "robust accuracy against the baseline", "clean accuracy against the baseline"
METRICS = (ROBUST, CLEAN)
"""What a run is held to when it is gated against an earlier one."""
LEVEL = 0.05
"""A difference with a smaller p-value is more than chance."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rate before and after.

    Attributes:
        old, new: the rates.
        p: how likely so large a difference is by chance.
    """

    old: Rate
    new: Rate
    p: float

    @property
    def difference(self) -> float:
        """After less before: negative when it got worse."""
        return self.new.value - self.old.value

    @property
    def significant(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True, slots=True)
class Pair:
    """One threat in two records.

    Attributes:
        threat: its name.
        before: the old run's robust accuracy, over all its rows.
        robust: rows that withstood, over the rows both records have; None when they cannot be paired. p is McNemar's, exact.
        clean: clean accuracy over all rows of each; None when the threats or data differ. p is Fisher's, exact, and not paired: records do
            not keep clean answers row by row, so a small change may go unnoticed.
        both, only_old, only_new, neither: rows that withstood in both, in the old run alone, in the new run alone, in neither.
        why: why it cannot be paired.
        notes: what the numbers must be read with: other attacks, rows of one run alone, new doubts.
        doubts: doubts about the new run that the old one had not.
    """

    threat: str
    before: float
    robust: Change | None = None
    clean: Change | None = None
    both: int = 0
    only_old: int = 0
    only_new: int = 0
    neither: int = 0
    why: str = ""
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two records, threat by threat: those of the old record in order, then those that only the new one has.

    Attributes:
        pairs: the threats.
        added: threats of the new record alone; there is nothing to compare them with.
    """

    pairs: tuple[Pair, ...]
    added: tuple[str, ...] = ()

    @property
    def paired(self) -> tuple[Pair, ...]:
        return tuple(p for p in self.pairs if p.robust is not None)


def compare(old: Record, new: Record) -> Comparison:
    """Pair two records on the rows they share, threat by threat.

    Only findings under the same threat on the same data can be paired; of the others it is said why not.
    """
    before, after = {f.name: f for f in old.findings}, {f.name: f for f in new.findings}
    data = _data_differ(old, new)
    pairs = tuple(_pair(finding, after.get(name), data, old, new) for name, finding in before.items())
    return Comparison(pairs, tuple(name for name in after if name not in before))


def judge_baseline(comparison: Comparison, tolerance: float = 0.02) -> tuple[Judgement, ...]:
    """A run held to an earlier one: it must not be worse.

    Breached when a rate is lower and the difference is more than chance (p < 0.05); inconclusive when it is lower by more than
    `tolerance` and that may be chance, or when it is no lower but the new run is doubted as the old one was not; unable when a threat of
    the baseline cannot be compared. Clean accuracy is judged once where several threats report the same.

    Args:
        comparison: the earlier run, then this one.
        tolerance: how much lower a rate may look, in [0, 1], before rows are asked for to decide it.
    """
    judged: list[Judgement] = []
    seen: set[tuple[Rate, Rate]] = set()
    for pair in comparison.pairs:
        if pair.robust is None:
            judged.append(Judgement(pair.threat, ROBUST, pair.before, None, Verdict.UNABLE, f"it cannot be compared: {pair.why}"))
        else:
            judged.append(_judged(pair.threat, ROBUST, pair.robust, tolerance, pair.doubts))
        if pair.clean is not None and (pair.clean.old, pair.clean.new) not in seen:
            seen.add((pair.clean.old, pair.clean.new))
            judged.append(_judged(pair.threat, CLEAN, pair.clean, tolerance, ()))
    return tuple(judged)


def fisher(hits: int, rows: int, other_hits: int, other_rows: int) -> float:
    """Fisher's exact test, two-sided: how likely two shares differ so much by chance.

    Sums the hypergeometric probabilities that are no larger than that of what was seen.

    >>> round(fisher(8, 10, 1, 10), 5)
    0.00548
    """
    total, most = hits + other_hits, rows + other_rows

    def log_chance(k: int) -> float:
        return _log_comb(rows, k) + _log_comb(other_rows, total - k) - _log_comb(most, total)

    seen = log_chance(hits)
    chances = (log_chance(k) for k in range(max(0, total - other_rows), min(rows, total) + 1))
    return min(1.0, sum(math.exp(c) for c in chances if c <= seen + 1e-7))


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _pair(old: Finding, new: Finding | None, data: str, old_record: Record, new_record: Record) -> Pair:
    why = data or ("the new run has no such threat" if new is None else _threats_differ(old.threat, new.threat))
    known = old.robust.value if old.robust.rows else 0.0
    if why or new is None:
        return Pair(old.name, known, why=why)
    clean = Change(old.clean, new.clean, fisher(new.clean.hits, new.clean.rows, old.clean.hits, old.clean.rows))
    before, after = old.standing(), new.standing()
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return Pair(old.name, known, clean=clean, why="the two runs share no row that was attacked")
    both = sum(before[i] and after[i] for i in shared)
    only_old, only_new = sum(before[i] and not after[i] for i in shared), sum(after[i] and not before[i] for i in shared)
    robust = Change(Rate(both + only_old, len(shared)), Rate(both + only_new, len(shared)), mcnemar(only_old, only_new))
    doubts = _new_doubts(old, new, old_record, new_record)
    notes = _notes(old, new, len(before) - len(shared), len(after) - len(shared), doubts)
    neither = len(shared) - both - only_old - only_new
    return Pair(old.name, known, robust, clean, both, only_old, only_new, neither, notes=notes, doubts=doubts)


def _data_differ(old: Record, new: Record) -> str:
    if not old.data.sha256 or old.data.sha256 != new.data.sha256:
        return f"the runs attacked different rows ({old.data.rows:,} of {old.data.name!r} and {new.data.rows:,} of {new.data.name!r})"
    return ""


def _threats_differ(old: ThreatCard, new: ThreatCard) -> str:
    """Which facts of a threat differ; its text only repeats them."""
    facts = [f.name for f in fields(ThreatCard) if f.name not in ("name", "text") and getattr(old, f.name) != getattr(new, f.name)]
    words = [f"{name} was {_shown(getattr(old, name))} and is {_shown(getattr(new, name))}" for name in facts]
    return f"the threat is another one: {', '.join(words)}" if words else ""


def _shown(value: object) -> str:
    return "unlimited" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _new_doubts(old: Finding, new: Finding, old_record: Record, new_record: Record) -> tuple[str, ...]:
    had = {d.name for d in (*old_record.doubts, *old.doubts)}
    return tuple(d.text for d in (*new_record.doubts, *new.doubts) if d.name not in had)


def _notes(old: Finding, new: Finding, old_alone: int, new_alone: int, doubts: tuple[str, ...]) -> tuple[str, ...]:
    notes: list[str] = []
    if [(a.name, a.settings) for a in old.attacks] != [(a.name, a.settings) for a in new.attacks]:
        tried = [", ".join(a.label for a in f.attacks) or "none" for f in (old, new)]
        more = f" ({tried[0]}; now {tried[1]})" if tried[0] != tried[1] else " in their settings"
        notes.append(f"the attacks differ{more}, so part of the difference may be theirs")
    if old_alone or new_alone:
        notes.append(f"{old_alone:,} rows were attacked in the old run alone and {new_alone:,} in the new run alone; they are left out")
    return (*notes, *(f"new doubt: {d}" for d in doubts))


def _judged(threat: str, metric: str, change: Change, tolerance: float, doubts: tuple[str, ...]) -> Judgement:
    moved = f"{change.old.value:.1%} before and {change.new.value:.1%} now (p = {change.p:.2g})"
    if change.difference < 0 and change.significant:
        outcome, reason = Verdict.BREACHED, f"it got worse: {moved}"
    elif change.difference < -tolerance - 1e-9:
        outcome, reason = Verdict.INCONCLUSIVE, f"it looks worse, but chance may do as much: {moved}; more rows would decide"
    elif doubts:
        outcome, reason = Verdict.INCONCLUSIVE, f"it is no worse, {moved}, but newly doubted: {'; '.join(doubts)}"
    else:
        outcome, reason = Verdict.HOLDS, f"it is no worse: {moved}"
    return Judgement(threat, metric, change.old.value, change.new, outcome, reason)
