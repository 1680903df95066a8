"""What the page shows, worked out from the record before a template sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vauban.campaign.record import AttackResult, Doubt, Finding, Group, Record
from vauban.campaign.verdict import Judgement, Verdict
from vauban.measure.rate import Rate
from vauban.report import figures
from vauban.report.advice import advice, link
from vauban.report.gallery import Example, Gallery, examples
from vauban.report.numbers import unit
from vauban.report.sentences import WORDS, finding_sentence, overall, promised, record_sentence
from vauban.report.texts import TextExample

MOST_CLASSES = 16
"""More classes than this make no readable heat table: the commonest confusions are listed instead."""
MOST_GROUPS = 24
"""Of more classes or subgroups than this only the weakest are shown."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict as a word, a sign and a style."""

    word: str
    sign: str
    style: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rate as a bar, all in percent of its width: the value, its interval, and what was promised."""

    rate: Rate
    value: float
    low: float
    high: float
    promise: float | None = None


@dataclass(frozen=True, slots=True)
class Promised:
    """A promise with its fate."""

    badge: Badge
    what: str
    reason: str
    waived: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the heat table: rows, share of its true class, and whether it is the diagonal."""

    rows: int
    share: float
    right: bool


@dataclass(frozen=True, slots=True)
class Heat:
    """Confusion under attack, as a table or, for many classes, as its largest entries (true, answered, rows)."""

    names: tuple[str, ...] = ()
    cells: tuple[tuple[Cell, ...], ...] = ()
    pairs: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Doubted:
    """A doubt, where it is explained and what to do."""

    doubt: Doubt
    link: str
    advice: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its title and what it shows in words."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class Section:
    """Everything the page says about one threat."""

    anchor: str
    place: str
    finding: Finding
    sentence: str
    badge: Badge
    clean: Bar
    robust: Bar
    naive: Bar | None
    certified: Bar | None
    promises: tuple[Promised, ...]
    plots: tuple[Plot, ...]
    classes: tuple[Group, ...]
    groups: tuple[Group, ...]
    heat: Heat | None
    examples: tuple[Example, ...] | tuple[TextExample, ...]
    doubts: tuple[Doubted, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page."""

    record: Record
    badge: Badge
    sentence: str
    sections: tuple[Section, ...]
    orphans: tuple[Promised, ...]
    doubts: tuple[Doubted, ...]
    attacks: tuple[AttackResult, ...]


Shown = Gallery | tuple[TextExample, ...]
"""Examples of broken rows: arrays, or texts with their edits marked."""
_BADGES = {verdict: Badge(WORDS[verdict], sign, WORDS[verdict]) for verdict, sign in zip(Verdict, "✓✕–?", strict=True)}
_MEASURED = Badge("measured", "•", "measured")


def page(record: Record, judged: Sequence[Judgement], galleries: Mapping[str, Shown]) -> Page:
    """The page of a record.

    Args:
        record: the record.
        judged: its promises, judged.
        galleries: examples of broken rows, by threat name; a threat may have none.
    """
    known = {f.name for f in record.findings}
    return Page(
        record,
        _badge(overall(record, judged), bool(judged) or not record.complete),
        record_sentence(record, judged),
        tuple(_section(record, f, i, judged, galleries.get(f.name)) for i, f in enumerate(record.findings, 1)),
        tuple(_promised(j) for j in judged if j.threat not in known),
        _doubts(record.doubts),
        _distinct(record),
    )


def bar(rate: Rate, promise: float | None = None) -> Bar:
    """A rate as a bar; an empty one where nothing was measured."""
    low, high = rate.interval
    value = rate.value if math.isfinite(rate.value) else 0.0
    return Bar(rate, 100 * value, 100 * low, 100 * high, None if promise is None else 100 * promise)


def heat(confusion: Sequence[Sequence[int]], classes: Sequence[str], most: int = MOST_CLASSES) -> Heat | None:
    """Confusion counts as shares of each true class; None where there are none."""
    if not any(map(sum, confusion)):
        return None
    names = tuple(classes[i] if i < len(classes) else f"class {i}" for i in range(max(len(confusion), *map(len, confusion))))
    if len(names) > most:
        counts = ((i, j, rows) for i, line in enumerate(confusion) for j, rows in enumerate(line) if rows and i != j)
        largest = sorted(counts, key=lambda entry: -entry[2])[:most]
        return Heat(pairs=tuple((names[i], names[j], rows) for i, j, rows in largest))
    cells = tuple(tuple(Cell(rows, rows / (sum(line) or 1), i == j) for j, rows in enumerate(line)) for i, line in enumerate(confusion))
    return Heat(names, cells)


def weakest(groups: Sequence[Group], most: int = MOST_GROUPS) -> tuple[Group, ...]:
    """All groups in their order; of too many, those with the lowest robust accuracy."""
    if len(groups) <= most:
        return tuple(groups)
    return tuple(sorted((g for g in groups if g.robust.rows), key=lambda g: g.robust.value)[:most])


def _section(record: Record, finding: Finding, place: int, judged: Sequence[Judgement], gallery: Shown | None) -> Section:
    own = [j for j in judged if j.threat == finding.name]
    least = {j.metric: j.promised for j in own}
    outcome = overall(record, own)
    classes, box = record.target.classes, (record.data.lo, record.data.hi)
    return Section(
        f"threat-{place}",
        f"Threat {place} of {len(record.findings)}",
        finding,
        finding_sentence(finding, own, record.data.kind),
        _badge(outcome if own else Verdict.HOLDS, bool(own)),
        bar(finding.clean, least.get("clean accuracy")),
        bar(finding.robust, least.get("robust accuracy")),
        None if finding.naive is None else bar(finding.naive),
        None if finding.certified is None else bar(finding.certified),
        tuple(map(_promised, own)),
        tuple(_plots(finding)),
        weakest(finding.classes),
        weakest(finding.groups),
        heat(finding.confusion, classes),
        gallery if isinstance(gallery, tuple) else examples(gallery, classes, box, unit=unit(finding.threat)) if gallery else (),
        _doubts(finding.doubts),
    )


def _plots(finding: Finding) -> list[Plot]:
    drawn = (
        Plot(
            "Robust accuracy against eps",
            "The share of inputs that withstand the attacks known here, for every size of change. The band is the 95% interval.",
            figures.curve(finding),
        ),
        Plot(
            "Success against questions",
            "The share of its inputs that each attack had broken after so many questions. A line still rising at its end had not finished.",
            figures.questions(finding),
        ),
        Plot(
            "What questions buy",
            "The share of attacked inputs that had fallen after so many questions on each, with its 95% interval; and what one identity may ask.",
            figures.ledger(finding),
        ),
        Plot(
            "Robust accuracy against cost",
            "The share of inputs still standing once so many passes of the model, forward and backward, had been spent on each of them.",
            figures.anytime(finding),
        ),
        Plot(
            "The cascade",
            "Inputs still standing after each attack in turn. Each attack works on what the ones before it left.",
            figures.cascade(finding),
        ),
    )
    return [plot for plot in drawn if plot.svg]


def _badge(outcome: Verdict, judged: bool) -> Badge:
    return _BADGES[outcome] if judged else _MEASURED


def _promised(judgement: Judgement) -> Promised:
    what = f"at least {promised(judgement.promised)} {judgement.metric}"
    return Promised(
        _BADGES[judgement.verdict], f"{judgement.threat}: {what}" if judgement.rate is None else what, judgement.reason, judgement.waived
    )


def _doubts(doubts: Sequence[Doubt]) -> tuple[Doubted, ...]:
    return tuple(Doubted(d, link(d.name), advice(d.name)) for d in doubts)


def _distinct(record: Record) -> tuple[AttackResult, ...]:
    """Every registered attack that ran, once, by name."""
    return tuple({a.name: a for f in record.findings for a in f.attacks}.values())
