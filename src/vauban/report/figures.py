"""The figures of the report as inline SVG: robust accuracy against eps, success against questions, and the cascade.

Colours are names of the page's own variables, so that a figure follows the page into dark mode and onto paper.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, PercentFormatter
from matplotlib.transforms import blended_transform_factory

from vauban.campaign.matrix.result import Matrix
from vauban.campaign.record import AttackResult, Finding
from vauban.report.numbers import radius, tidy, unit

_VARIABLES = {
    "#010101": ("ink", "#1c2733"),
    "#020202": ("muted", "#5a6672"),
    "#030303": ("line", "#d8dee4"),
    "#040404": ("blue", "#1f5f8b"),
    "#050505": ("amber", "#b4610f"),
    "#060606": ("c3", "#0f766e"),
    "#070707": ("c4", "#8e4585"),
    "#080808": ("c5", "#5a6672"),
    "#090909": ("c6", "#9a7b00"),
}
"""Stand-in colours, replaced in the finished SVG by a variable of the page and its colour where there is no page."""

_INK, _MUTED, _LINE, _BLUE, _AMBER, *_MORE = _VARIABLES
_CYCLE = (_BLUE, _AMBER, *_MORE)
_DASHES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_RC: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.0,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
}
WIDTH, HEIGHT = 4.7, 2.9
"""Of a figure, in inches of 72 units: narrow enough that its text stays readable on a phone."""


def curve(finding: Finding) -> str:
    """Robust accuracy against eps with its interval as a band, and the threat's own eps marked. Empty where no curve was measured."""
    if finding.curve is None or len(finding.curve.eps) < 2:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _canvas(HEIGHT)
        points = [(e, r) for e, r in zip(finding.curve.eps, finding.curve.robust, strict=True) if math.isfinite(e) and r.rows]
        eps = [e for e, _ in points]
        axes.fill_between(eps, [r.interval[0] for _, r in points], [r.interval[1] for _, r in points], color=_BLUE, alpha=0.16, linewidth=0)
        axes.plot(eps, [r.value for _, r in points], color=_BLUE, linewidth=1.7)
        _mark(axes, finding)
        axes.set(
            xlim=(min(eps), max(eps)),
            ylim=(0, 1.02),
            xlabel=f"eps, the largest change allowed{', in pixels' if unit(finding.threat) else ''}",
        )
        if radius(finding.threat).endswith("/255"):
            axes.xaxis.set_major_locator(MultipleLocator(_stride(max(eps) * 255) / 255))
            axes.xaxis.set_major_formatter(FuncFormatter(_levels))
        _shares(axes)
        return _svg(figure, f"curve {finding.name}")


def questions(finding: Finding, most: int = 6) -> str:
    """The share of tried rows each attack had broken after so many questions. At most `most` attacks, those that broke the most rows."""
    chosen = sorted((a for a in finding.attacks if a.first and a.tried and a.most > 1), key=lambda a: -a.broken)[:most]
    if not chosen:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _canvas(HEIGHT)
        longest = max(max(a.most, *a.first) for a in chosen)
        for attack, colour, dash in zip(chosen, _CYCLE, _DASHES, strict=False):
            x, y = _steps(attack, longest)
            axes.step(x, y, where="post", color=colour, linestyle=dash, linewidth=1.6, label=_short(attack.label, 22))
            axes.plot(x[-1:], y[-1:], "o", color=colour, markersize=3.5, clip_on=False)
        if longest > 100:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlim=(1, longest), xlabel="questions asked about a row")
        axes.set_ylim(0, None)
        _shares(axes)
        axes.legend(
            frameon=False,
            fontsize=8,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=min(3, len(chosen)),
            handlelength=2.2,
            columnspacing=1.2,
        )
        return _svg(figure, f"questions {finding.name}")


def anytime(finding: Finding) -> str:
    """Robust accuracy against the passes spent on a row, on a logarithmic scale. Empty where fewer than two points are known."""
    if finding.anytime is None or len(finding.anytime.passes) < 2:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _canvas(HEIGHT)
        passes = [max(p, 1) for p in finding.anytime.passes]
        shares = [r.value for r in finding.anytime.robust]
        low, high = zip(*(r.interval for r in finding.anytime.robust), strict=True)
        axes.fill_between(passes, low, high, step="post", color=_BLUE, alpha=0.16, linewidth=0)
        axes.step(passes, shares, where="post", color=_BLUE, linewidth=1.7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.set(xlim=(1, max(passes[-1], 10)), ylim=(0, 1.02), xlabel="forward and backward passes spent on a row")
        _shares(axes)
        return _svg(figure, f"anytime {finding.name}")


def ledger(finding: Finding) -> str:
    """The share of attacked rows that had fallen after so many questions on each. Empty for an attacker that holds the model."""
    book = finding.ledger
    if book is None or len(book.queries) < 2:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _canvas(HEIGHT)
        low, high = zip(*(r.interval for r in book.success), strict=True)
        axes.fill_between(book.queries, low, high, color=_BLUE, alpha=0.16, linewidth=0)
        axes.plot(book.queries, [r.value for r in book.success], color=_BLUE, linewidth=1.7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        for limit, name in ((book.session, "a session"), (book.day, "a device-day")):
            if limit < book.queries[-1]:
                axes.axvline(limit, color=_AMBER, linewidth=1.1, linestyle=(0, (4, 2)))
                axes.annotate(name, (limit, 0.98), xytext=(3, 0), textcoords="offset points", va="top", rotation=90, color=_AMBER)
        axes.set(xlim=(1, book.queries[-1]), ylim=(0, 1.02), xlabel="questions asked about a row, by all attacks together")
        _shares(axes)
        return _svg(figure, f"ledger {finding.name}")


def cascade(finding: Finding) -> str:
    """Rows still standing after each attack in turn, as bars."""
    if not finding.attacks or not finding.robust.rows:
        return ""
    steps = [("before any attack", finding.attacks[0].tried), *((a.label, a.left) for a in finding.attacks)]
    with mpl.rc_context(_RC):
        figure, axes = _canvas(0.75 + 0.27 * len(steps))
        places = range(len(steps))
        axes.barh(places, [finding.robust.rows] * len(steps), color=_LINE, height=0.62, alpha=0.55)
        axes.barh(places, [left for _, left in steps], color=_BLUE, height=0.62)
        axes.set_yticks(places, [_short(name, 24) for name, _ in steps], color=_INK)
        for place, (_, left) in zip(places, steps, strict=True):
            axes.text(
                1.02, place, f"{left:,}", va="center", color=_INK, transform=blended_transform_factory(axes.transAxes, axes.transData)
            )
        axes.invert_yaxis()
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set(xlim=(0, finding.robust.rows), xlabel=f"rows standing, of {finding.robust.rows:,}")
        return _svg(figure, f"cascade {finding.name}")


def _free(placed: list[tuple[float, float]], x: float, y: float) -> float:
    """How far above its point, in points of print, a label stands clear of those placed before; it is placed there."""
    for offset in (4, -11, 14, -21, 24, -31, 34, -41, 44):
        height = 250 * y + offset
        if all(abs(x - u) > 0.22 or abs(height - v) > 9 for u, v in placed):
            break
    placed.append((x, height))
    return offset


def defences(matrix: Matrix, threat: str, front: Sequence[str]) -> str:
    """Clean against robust accuracy of every line of a matrix, with intervals; those on the front are joined. Empty where there is one line."""
    points = [(line, s) for line in matrix.measured for s in line.stands if s.threat == threat and s.robust.rows]
    if len(points) < 2:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _canvas(HEIGHT * 1.25)
        placed: list[tuple[float, float]] = []
        for line, stand in sorted(points, key=lambda p: -p[1].robust.value):
            colour = _BLUE if line.label in front else _MUTED
            (left, right), (low, high) = stand.robust.interval, line.clean.interval
            x, y = stand.robust.value, line.clean.value
            axes.errorbar(
                [x], [y], xerr=[[x - left], [right - x]], yerr=[[y - low], [high - y]], fmt="o", color=colour, markersize=4, linewidth=0.7
            )
            axes.annotate(
                _short(line.label, 26), (x, y), xytext=(5, _free(placed, x, y)), textcoords="offset points", color=colour, fontsize=7.5
            )
        best = sorted((s.robust.value, line.clean.value) for line, s in points if line.label in front)
        axes.plot([x for x, _ in best], [y for _, y in best], color=_BLUE, linewidth=1, linestyle=(0, (4, 2)))
        axes.set(xlim=(-0.02, 1.02), xlabel=f"robust accuracy, {tidy(threat)}", ylabel="clean accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _shares(axes)
        return _svg(figure, f"defences {threat}")


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _shares(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def _mark(axes: Axes, finding: Finding) -> None:
    """A line at the threat's eps and a point at the robust accuracy it was judged by."""
    if finding.curve is None or not min(finding.curve.eps) <= finding.threat.radius <= max(finding.curve.eps):
        return
    eps, value = finding.threat.radius, finding.robust.value
    axes.axvline(eps, color=_AMBER, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.plot([eps], [value], "o", color=_AMBER, markersize=4.5)
    left = eps > (min(finding.curve.eps) + max(finding.curve.eps)) / 2
    offset = (-6, 0) if left else (6, 0)
    words = f"eps = {radius(finding.threat)}\n{value:.1%}"
    axes.annotate(words, (eps, 0.97), xytext=offset, textcoords="offset points", ha="right" if left else "left", va="top", color=_AMBER)


def _steps(attack: AttackResult, longest: int) -> tuple[list[int], list[float]]:
    """The staircase of an attack: after x questions the share y of its tried rows had fallen."""
    won = sorted(Counter(attack.first).items())
    x = [1, *(question for question, _ in won), min(longest, max(attack.most, won[-1][0]))]
    y = [0.0, *(fallen / attack.tried for fallen in accumulate(rows for _, rows in won))]
    return x, [*y, y[-1]]


def _thousands(value: float, _: float) -> str:
    return f"{value:,.0f}"


def _stride(most: float, ticks: int = 6) -> int:
    """The least power of two that covers `most` levels in at most so many ticks."""
    return 2 ** max(0, math.ceil(math.log2(most / ticks)))


def _levels(value: float, _: float) -> str:
    return f"{round(value * 255)}/255" if value else "0"


def _short(name: str, most: int) -> str:
    name = tidy(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG element for a page: no fixed size, the page's fonts and colours, and ids that differ where `salt` does."""
    out = io.StringIO()
    with mpl.rc_context({**_RC, "svg.hashsalt": salt}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}, transparent=True)
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    svg = re.sub(r"<style.*?</style>|font-family: [^;\"]*; ?", "", svg, flags=re.DOTALL)
    svg = _unnamed(svg)
    for colour, (variable, fallback) in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable}, {fallback})")
    return re.sub(r"\n\s*", "\n", svg).strip()


def _unnamed(svg: str) -> str:
    """Without the ids that nothing refers to: several figures share a page, and an id may stand there once."""
    used: Sequence[str] = re.findall(r"(?:url\(#|href=\"#)([\w-]+)", svg)
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
