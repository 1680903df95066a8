"""A verdict in one sentence that needs no knowledge of the field."""

from __future__ import annotations

from collections.abc import Sequence

from vauban.campaign.cards import ThreatCard
from vauban.campaign.record import Finding, Record
from vauban.campaign.verdict import Judgement, Verdict, verdict
from vauban.measure.rate import Rate
from vauban.report.numbers import percent, radius

WORDS = {Verdict.HOLDS: "holds", Verdict.BREACHED: "breached", Verdict.UNABLE: "unable", Verdict.INCONCLUSIVE: "inconclusive"}
"""The one word for each verdict."""

_KNOWS = {
    "none": "who sees nothing of the model's answers",
    "label": "who sees only which class the model answers",
    "score": "who sees the model's score for every class",
    "gradient": "with full knowledge of the model",
}
_MAY = {
    "linf": "change each {part} by at most {eps}",
    "l2": "change an input by at most {eps} in Euclidean distance",
    "l1": "change an input by at most {eps} in total over all {part}s",
    "l0": "change at most {eps} of the {value}s, as much as it likes",
    "pixels": "change at most {eps} of the pixels, as much as it likes",
    "edits": "edit each text at most {eps} times",
}
_COUNTED = ("l0", "pixels")
"""Of these the values change as much as the attacker likes, so that their scale does not matter."""
_FATE = {
    Verdict.HOLDS: "is kept",
    Verdict.BREACHED: "is broken",
    Verdict.UNABLE: "could not be judged",
    Verdict.INCONCLUSIVE: "is undecided",
}
_ALL = {1: "The one promise", 2: "Both promises"}


def attacker(threat: ThreatCard, kind: str = "vector") -> str:
    """Who attacks, in words: what it knows, may do and may spend.

    Args:
        threat: the threat.
        kind: the kind of data; "image" inputs have pixels, others have features.

    >>> attacker(ThreatCard("insider", "", "gradient", "linf", 8 / 255, "any wrong class"), "image")
    'An attacker with full knowledge of the model who may change each pixel by at most 8/255'
    """
    knows = _KNOWS.get(threat.access, f"with {threat.access} access")
    may = "and may" if knows.startswith("who") else "who may"
    return f"An attacker {knows} {may} {_change(threat, kind)}{_spend(threat)}"


def finding_sentence(finding: Finding, judged: Sequence[Judgement] = (), kind: str = "vector") -> str:
    """The verdict on one threat in one sentence: who attacks, how often it succeeds, and what became of the promise.

    Args:
        finding: the finding.
        judged: the judgements of this threat (those of other threats are passed over).
        kind: the kind of data, as in `attacker`.
    """
    who = attacker(finding.threat, kind)
    own = [j for j in judged if j.threat == finding.name]
    if finding.robust.rows == 0:
        return f"{who} found no input to attack, so nothing was measured; {_promises(own)}."
    return f"{who} {_wins(finding)} {_share(_broken(finding.robust))}{_untouched(finding)}{_adapted(finding)}{_proven(finding)}; {_promises(own)}."


def record_sentence(record: Record, judged: Sequence[Judgement]) -> str:
    """The whole record in one sentence: how many promises were kept, and whether the run was finished."""
    unfinished = "" if record.complete else "The run is unfinished and its numbers cover only what was done so far. "
    if not record.findings:
        return f"{unfinished}No threat was tried, so nothing is known about this model."
    if not judged:
        threats = f"{len(record.findings)} threats" if len(record.findings) > 1 else "one threat"
        return f"{unfinished}Nothing was promised; the model was measured under {threats}."
    return f"{unfinished}{_tally(judged)}"


def overall(record: Record, judged: Sequence[Judgement]) -> Verdict:
    """The record's one verdict, with waived breaches left out."""
    standing = [j.verdict for j in judged if not j.waived]
    return max([verdict(record, ()), *standing], key=(Verdict.HOLDS, Verdict.INCONCLUSIVE, Verdict.UNABLE, Verdict.BREACHED).index)


def _change(threat: ThreatCard, kind: str) -> str:
    part = "pixel" if kind == "image" else "feature"
    norm = threat.perturbation.lower().split(" ")[0]
    if norm == "patch":
        return f"put a {threat.allowed or f'patch of {radius(threat)} pixels'} on each input and show there what it likes"
    if norm == "features":
        return f"change the features of a row ({_limits(threat)})"
    if norm not in _MAY:
        return f"transform each input ({_limits(threat)})"
    if threat.radius == float("inf"):
        return "change an input by any amount"
    if norm == "edits" and threat.radius == 1:
        return "edit each text once"
    value = "pixel value" if kind == "image" else part
    if norm in _COUNTED and threat.radius == 1:
        return f"change one {value if norm == 'l0' else 'pixel'}, as much as it likes"
    scale = "" if (threat.lo, threat.hi) == (0.0, 1.0) or norm in _COUNTED else f" on a scale from {threat.lo:g} to {threat.hi:g}"
    return _MAY[norm].format(part=part, value=value, eps=radius(threat)) + scale


def _limits(threat: ThreatCard) -> str:
    """What a transformation may do."""
    return threat.allowed or "rotation and translation"


def _spend(threat: ThreatCard) -> str:
    limits = ((threat.queries, "questions"), (threat.gradients, "gradients"))
    words = [f"at most {value:,.0f} {what}" if value else f"no {what}" for value, what in limits if value is not None]
    return f", with {' and '.join(words)} for each input," if words else ""


def _wins(finding: Finding) -> str:
    return "gets a wrong answer for" if finding.threat.untargeted else f"gets the answer it wants ({finding.threat.goal}) for"


def _broken(robust: Rate) -> Rate:
    return Rate(robust.rows - robust.hits, robust.rows, robust.level)


def _counted(rate: Rate) -> bool:
    """Whether plain counts say it better than "of every 100": rows are few, or rounding would say none or all."""
    return rate.rows < 100 or round(100 * rate.value) in (0, 100)


def _inputs(rows: int) -> str:
    return f"{rows:,} input{'' if rows == 1 else 's'}"


def _share(rate: Rate) -> str:
    """A share as people count, with its interval."""
    low, high = (100 * bound for bound in rate.interval)
    spread = f"({rate.level:.0%} interval {low:.0f} to {high:.0f}"
    if rate.hits in (0, rate.rows):
        return f"{'all' if rate.hits else 'none'} of {_inputs(rate.rows)} {spread} of every 100)"
    if _counted(rate):
        return f"{rate.hits:,} of {_inputs(rate.rows)} {spread} of every 100)"
    return f"{round(100 * rate.value)} of every 100 inputs {spread})"


def _proven(finding: Finding) -> str:
    """What is known of the inputs that stood, where proofs were tried."""
    sure = finding.certified
    if sure is None or not finding.robust.hits:
        return ""
    verb = "is" if sure.hits == 1 else "are"
    return f". Of the {_inputs(finding.robust.hits)} that stood, {sure.hits:,} {verb} proven robust and {finding.open:,} open"


def _adapted(finding: Finding) -> str:
    """What an attacker that does not know of the defences gets, so that nobody takes that for what they are worth."""
    naive = finding.naive
    if naive is None or not naive.rows:
        return ""
    wrong = _broken(naive)
    said = f"{wrong.hits:,}" if _counted(_broken(finding.robust)) else f"{round(100 * wrong.value)}"
    return f"; one that does not know of the defence, for {said}"


def _untouched(finding: Finding) -> str:
    """How many of the wrong answers need no attack: an untargeted goal counts them among the broken."""
    wrong = _broken(finding.clean)
    if not finding.threat.untargeted or wrong.rows != finding.robust.rows or not wrong.hits:
        return ""
    count = wrong.hits if _counted(_broken(finding.robust)) else round(100 * wrong.value)
    return f", {f'{count:,}' if count else 'less than one'} of them without any attack"


def _promises(judged: Sequence[Judgement]) -> str:
    if not judged:
        return "nothing was promised about it"
    fates = [_fate(j) for j in judged]
    if len(judged) == 2 and fates[0] == fates[1]:
        what = " and ".join(f"{promised(j.promised)} {j.metric.partition(' ')[0]}" for j in judged)
        return f"the promises of {what} accuracy {_plural(fates[0])}"
    return " and ".join(f"the promise of {promised(j.promised)} {j.metric} {fate}" for j, fate in zip(judged, fates, strict=True))


def _fate(judgement: Judgement) -> str:
    return f"{_FATE[judgement.verdict]}{', and waived' if judgement.waived else ''}"


def _plural(fate: str) -> str:
    return f"are {fate.removeprefix('is ')}" if fate.startswith("is ") else fate


def promised(value: float) -> str:
    """A promise as it was written: 45%, or 99.5% where it has decimals."""
    whole = percent(value, 0)
    return whole if abs(value * 100 - round(value * 100)) < 1e-9 else f"{value * 100:g}%"


def _tally(judged: Sequence[Judgement]) -> str:
    total = len(judged)
    fates = (
        ("broken", sum(j.verdict is Verdict.BREACHED and not j.waived for j in judged)),
        ("broken and waived", sum(j.verdict is Verdict.BREACHED and bool(j.waived) for j in judged)),
        ("could not be judged", sum(j.verdict is Verdict.UNABLE for j in judged)),
        ("undecided", sum(j.verdict is Verdict.INCONCLUSIVE for j in judged)),
        ("kept", sum(j.verdict is Verdict.HOLDS for j in judged)),
    )
    found = [(word, count) for word, count in fates if count]
    if len(found) == 1:
        return f"{_ALL.get(total, f'All {total} promises')} {_verb(found[0][0], total)}."
    words = [f"{count} {_verb(word, count)}" for word, count in found]
    return f"Of {total} promises, {', '.join(words[:-1])} and {words[-1]}."


def _verb(word: str, count: int) -> str:
    return word if word.startswith("could") else f"{'is' if count == 1 else 'are'} {word}"
