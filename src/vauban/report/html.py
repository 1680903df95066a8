"""A record as one self-contained page: no script, nothing fetched, fit for paper, phone and dark rooms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vauban.campaign.record import Record, write_atomically
from vauban.campaign.verdict import Judgement, judgements
from vauban.measure.rate import Rate
from vauban.report import numbers, presented
from vauban.report.endpoint import billed
from vauban.report.glossary import GLOSSARY
from vauban.report.page import Shown, bar, page
from vauban.report.questions import rungs, spent
from vauban.report.texts import sentence
from vauban.version import __version__

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def write_html(record: Record, path: Path, galleries: Mapping[str, Shown] | None = None, judged: Sequence[Judgement] | None = None) -> None:
    """Write the page of a record, whole or not at all.

    Args:
        record: the record.
        path: the file to write, such as RUN/report.html.
        galleries: examples of broken rows, by threat name.
        judged: the promises, judged; by default the record's own.
    """
    write_atomically(path, html(record, galleries, judged))


def html(record: Record, galleries: Mapping[str, Shown] | None = None, judged: Sequence[Judgement] | None = None) -> str:
    """The page of a record as text; see `write_html`."""
    view = page(record, judgements(record) if judged is None else judged, galleries or {})
    return environment().get_template("report.html.j2").render(page=view, record=record, glossary=GLOSSARY, version=__version__)


def environment() -> Environment:
    """Where the templates are, and what they know."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(_FILTERS)
    environment.globals.update(_GLOBALS)
    return environment


def _interval(rate: Rate) -> str:
    return numbers.interval(rate, "–")


def _phrase(text: str) -> str:
    """Words as a sentence: a capital to begin with and a full stop to end with."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _paper(source: str) -> Markup:
    """A source with its arXiv number as a link."""
    link = Markup('<a href="https://arxiv.org/abs/{0}">arXiv:{0}</a>')
    parts = _ARXIV.split(source)
    return Markup("").join(link.format(part) if i % 2 else part for i, part in enumerate(parts))


def _settings(settings: Mapping[str, object]) -> str:
    """Settings on one line; long numbers are shortened and long values cut, the record has them whole."""
    values = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return ", ".join(f"{name} = {value if len(value) <= 60 else value[:59] + '…'}" for name, value in values.items())


def _breakable(name: str) -> Markup:
    """A name that may break after each underscore, dash or dot."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.\-/])(?=.)", name))


def _day(started: str) -> str:
    """A time stamp as a date and time to the minute; what is no time stamp stays as it is."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()


_FILTERS: dict[str, Any] = {
    "percent": numbers.percent,
    "interval": _interval,
    "number": numbers.number,
    "passes": numbers.passes,
    "duration": numbers.time,
    "slug": numbers.slug,
    "bar": bar,
    "paper": _paper,
    "settings": _settings,
    "breakable": _breakable,
    "phrase": _phrase,
    "day": _day,
    "svg": Markup,
    "spent": spent,
    "rungs": rungs,
    "worth": sentence,
    "billed": billed,
    "presented": presented.lines,
}
_GLOBALS: dict[str, Any] = {"success": numbers.success, "presented_note": presented.NOTE}
