"""Templates: how a page is put together, and the words that all of them use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vauban.guard.canonical import canonical
from vauban.guard.console import charts
from vauban.guard.console.access import Visitor
from vauban.guard.console.context import Desk
from vauban.guard.console.readings.board import alerts_of
from vauban.guard.console.readings.shares import span, when

HERE = Path(__file__).parent
NAV = (
    ("/", "Now"),
    ("/scores", "Scores"),
    ("/evidence", "Evidence"),
    ("/clusters", "Clusters"),
    ("/quotas", "Quotas"),
    ("/models", "Models"),
    ("/alerts", "Alerts"),
    ("/ledger", "Ledger"),
)


class Pages:
    """The templates of one console.

    Args:
        desk: whose guard it is.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        words = {"when": when, "span": span, "short": _short, "percent": _percent, "milli": _milli, "json": canonical, "facts": facts}
        cast("dict[str, object]", self.templates.filters).update(words)

    def page(self, request: Request, template: str, visitor: Visitor, status: int = 200, **told: Any) -> HTMLResponse:
        """A page for somebody who is logged in."""
        waiting = len(self.desk.recent("open alerts", lambda: alerts_of(self.desk.store, 1)[0]))
        path = "/" + request.url.path.strip("/").partition("/")[0]
        return self.bare(template, status, visitor=visitor, path=path, waiting=waiting, **told)

    def bare(self, template: str, status: int = 200, **told: Any) -> HTMLResponse:
        """A page, or a part of one."""
        shared = {"nav": NAV, "charts": charts, "guard": self.desk.guard.config.name}
        return HTMLResponse(self.templates.get_template(f"{template}.html.j2").render(**shared, **told), status)


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Evidence in words: times as times, logarithms as powers of ten.

    >>> facts({"log_e": 13.82, "at": 0, "rate": 0.123456789, "names": ["a"]})
    [('evidence', '1e6.0'), ('at', '1970-01-01 00:00:00'), ('rate', '0.123457'), ('names', '["a"]')]
    """
    return [_fact(name, value) for name, value in values.items()]


def _fact(name: str, value: Any) -> tuple[str, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in ("log_e", "line"):
            return {"log_e": "evidence"}.get(name, name), f"1e{value / math.log(10):.1f}"
        if name in ("at", "first", "last"):
            return name, when(float(value))
        return name, f"{value:.6g}" if isinstance(value, float) else f"{value:,}"
    return name, value if isinstance(value, str) else canonical(value)


def _short(text: str) -> str:
    """The first 12 digits of a hash: enough to find it again."""
    return text[:12]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _milli(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:.0f} ms"
