"""A record as tables in a terminal: 80 columns are enough, and plain text needs neither colour nor box glyphs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vauban.campaign.presented import Presented
from vauban.campaign.record import AttackResult, Finding, Record
from vauban.campaign.verdict import Judgement, Verdict, judgements
from vauban.measure.rate import Rate
from vauban.report import presented
from vauban.report.advice import link
from vauban.report.endpoint import billed
from vauban.report.numbers import interval, number, passes, percent, tidy
from vauban.report.questions import spent
from vauban.report.sentences import WORDS, finding_sentence, overall, promised, record_sentence
from vauban.report.texts import sentence

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLE = {Verdict.HOLDS: "bold green", Verdict.BREACHED: "bold red", Verdict.UNABLE: "bold magenta", Verdict.INCONCLUSIVE: "bold yellow"}


def print_record(record: Record, console: Console, judged: Sequence[Judgement] | None = None, plain: bool = False) -> None:
    """Print a record: the threats with their verdicts, the attacks of each, the doubts, and one closing line.

    Args:
        record: what to print.
        console: where to.
        judged: the promises, judged; by default the record's own.
        plain: rules of ASCII dashes instead of box glyphs; for no colour, give a console without.
    """
    judged = judgements(record) if judged is None else judged
    console.print(_text((f"{record.target.name} on {record.data.name}", "bold"), (f"\n{_headline(record)}", "dim")))
    if record.findings or judged:
        console.print(_threats(record, judged, plain))
    for finding in record.findings:
        _print_finding(record, finding, judged, console, plain)
    for bill in record.endpoints:
        console.print(_text((f"{billed(bill)}\n", "dim")))
    _print_doubts(record, console)
    outcome = overall(record, judged)
    word = WORDS[outcome].upper() if judged or not record.complete else "MEASURED"
    console.print(_text((word, _STYLE[outcome]), (f"  {record_sentence(record, judged)}", "")))


def plain_text(record: Record, judged: Sequence[Judgement] | None = None, width: int = 80) -> str:
    """A record as plain text: no colour, no box glyphs, lines of at most `width` characters."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, highlight=False, emoji=False, markup=False)
    print_record(record, console, judged, plain=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _headline(record: Record) -> str:
    unfinished = "" if record.complete else ", unfinished"
    rows, classes = f"{record.data.rows:,} rows", f"{len(record.target.classes)} classes"
    return f"{record.title or 'audit'}: {defended(record)}{rows}, {classes}, seed {record.seed}{unfinished}"


def defended(record: Record) -> str:
    """The defences in the order an input meets them; empty where there are none."""
    worn = [d.name for d in reversed(record.target.defences)]
    return f"behind {', then '.join(worn)}; " if worn else ""


def _threats(record: Record, judged: Sequence[Judgement], plain: bool) -> Table:
    proofs = any(f.certified for f in record.findings)
    worn = any(f.naive for f in record.findings)
    heads = ("clean", *(("naive",) if worn else ()), "robust", *(("certified",) if proofs else ()), "rows")
    table = _table(plain, ("threat", "left"), *((h, "right") for h in heads), ("promised", "left"), ("verdict", "left"))
    for finding in record.findings:
        own = [j for j in judged if j.threat == finding.name]
        promises, verdicts = _lines(map(_promise, own)), _lines(map(_verdict, own))
        sure = ("-" if finding.certified is None else _rate(finding.certified),) if proofs else ()
        naive = ("-" if finding.naive is None else _rate(finding.naive),) if worn else ()
        shares = (_rate(finding.clean), *naive, _rate(finding.robust), *sure)
        table.add_row(_text((finding.name, "bold")), *shares, f"{finding.robust.rows:,}", promises, verdicts)
    for judgement in judged:
        if all(f.name != judgement.threat for f in record.findings):
            nothing = ("-",) * (len(heads) - 1)
            table.add_row(_text((judgement.threat, "bold")), *nothing, "0", _promise(judgement), _verdict(judgement))
    return table


def _print_finding(record: Record, finding: Finding, judged: Sequence[Judgement], console: Console, plain: bool) -> None:
    console.print(_text((finding.name, "bold"), (f"\n{finding_sentence(finding, judged, record.data.kind)}", "")))
    for judgement in judged:
        if judgement.threat == finding.name and judgement.verdict is not Verdict.HOLDS:
            console.print(_text((f"{judgement.metric}: {judgement.reason}", "dim")))
    if finding.attacks:
        console.print(_attacks(finding.attacks, plain))
    if finding.ledger is not None:
        console.print(_text((spent(finding.ledger), "dim")))
    if finding.declined is not None:
        console.print(_text((finding.declined.sentence(), "dim")))
    if finding.presented is not None:
        console.print(_presented(finding.presented, plain))
    if finding.validity is not None:
        console.print(_text((sentence(finding.validity), "dim")))
    stopped = [f"{a.label} stopped early: {a.stopped}\n" for a in finding.attacks if a.stopped]
    if stopped or not finding.attacks:
        console.print(_text(("".join(stopped), "yellow")))


def _attacks(attacks: Iterable[AttackResult], plain: bool) -> Table:
    heads = ("tried", "broken", "left", "median\nsize", "forwards\nper row", "backwards\nper row", "seconds")
    table = _table(plain, ("attack", "left"), *((head, "right") for head in heads))
    for a in attacks:
        forwards, backwards = passes(a.forwards + a.surrogate_forwards), passes(a.backwards + a.surrogate_backwards)
        table.add_row(
            _text((a.label, "")),
            f"{a.tried:,}",
            f"{a.proved:,} proven" if a.proved else f"{a.broken:,}",
            f"{a.left:,}",
            number(a.distance),
            forwards,
            backwards,
            f"{a.seconds:.1f}",
        )
    return table


def _presented(told: Presented, plain: bool) -> Table:
    table = _table(plain, (f"taken for {tidy(told.wanted)}", "left"), *((h, "right") for h in ("rows", "before", "under attack")))
    for line in presented.lines(told):
        pairs = (line.before, line.before_interval), (line.under, line.under_interval)
        table.add_row(_text((line.name, "")), line.rows, *(_text((rate, ""), (f"  {ends}", "dim")) for rate, ends in pairs))
    return table


def _print_doubts(record: Record, console: Console) -> None:
    doubts = [("", d) for d in record.doubts] + [(f"{f.name}: ", d) for f in record.findings for d in f.doubts]
    for where, doubt in doubts:
        console.print(_text(("! ", "bold yellow"), (f"{where}{doubt.text} ", ""), (f"({link(doubt.name)})", "dim")))
    if doubts:
        console.print()


def _table(plain: bool, *columns: tuple[str, str]) -> Table:
    from rich import box
    from rich.table import Table

    dashes = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=dashes if plain else box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for head, side in columns:
        table.add_column(head, justify="right" if side == "right" else "left", overflow="fold", no_wrap=side == "right")
    return table


def _text(*parts: tuple[str, str]) -> Text:
    """Words with their styles, never read as markup; of all control characters only line ends survive."""
    from rich.text import Text

    clean = (("\n".join(tidy(line) for line in words.split("\n")), style) for words, style in parts)
    return Text.assemble(*clean, overflow="fold")


def _lines(texts: Iterable[Text]) -> Text:
    from rich.text import Text

    return Text("\n").join(texts)


def _rate(rate: Rate) -> Text:
    return _text((percent(rate.value), ""), (f"\n{interval(rate, '-')}" if rate.rows else "", "dim"))


def _promise(judgement: Judgement) -> Text:
    return _text((f"{judgement.metric.partition(' ')[0]} {promised(judgement.promised)}", ""))


def _verdict(judgement: Judgement) -> Text:
    return _text((WORDS[judgement.verdict], _STYLE[judgement.verdict]), (" (waived)" if judgement.waived else "", ""))
