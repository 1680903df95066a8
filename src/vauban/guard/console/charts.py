"""The charts of the console, drawn on the server: no script draws anything, and a page without pictures still says it in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from vauban.guard.console.readings.evidence import Standing
from vauban.guard.console.readings.now import SLOT, Slot
from vauban.guard.console.readings.scores import LEAST, Bin, Scores
from vauban.guard.console.readings.shares import Share
from vauban.guard.console.svg import Frame, tag, ticks, titled

WIDE = 980.0


def decisions(slots: Sequence[Slot]) -> Markup:
    """Decisions of each half hour as columns: rejected on top of accepted."""
    top = ticks(max((s.accepted + s.rejected for s in slots), default=0))
    frame = Frame(WIDE, 190, (slots[0].at, slots[-1].at + SLOT), (0, top[-1]))
    width = frame.across(slots[0].at + SLOT) - frame.across(slots[0].at)
    shapes = [frame.grid(top, [f"{t:,.0f}" if t >= 1 or t == 0 else "" for t in top]), _hours(frame, slots)]
    for s in slots:
        columns = [_column(frame, s.at, width, 0, s.accepted, "accept"), _column(frame, s.at, width, s.accepted, s.rejected, "reject")]
        shapes.append(titled(Markup("").join(columns), f"{_clock(s.at)} UTC: {s.accepted:,} accepted, {s.rejected:,} rejected"))
    total = sum(s.accepted + s.rejected for s in slots)
    return frame.drawn(f"{total:,} decisions in the last 24 hours, by half hours", *shapes)


def rates(slots: Sequence[Slot]) -> Markup:
    """The accept rate of each half hour with its interval; none where nothing was decided."""
    frame = Frame(WIDE, 190, (slots[0].at, slots[-1].at + SLOT), (0, 1))
    shapes = [frame.grid((0, 0.25, 0.5, 0.75, 1), ("0 %", "25 %", "50 %", "75 %", "100 %")), _hours(frame, slots)]
    for run in _runs(slots):
        middle = [(s.at + SLOT / 2, s.share) for s in run]
        band = [(at, share.high) for at, share in middle] + [(at, share.low) for at, share in reversed(middle)]
        shapes.append(tag("polygon", points=" ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in band), class_="band"))
        shapes.append(frame.line([(at, share.value or 0.0) for at, share in middle], "rate"))
    for s in slots:
        if s.share.value is not None:
            x, share = frame.across(s.at + SLOT / 2), s.share
            dot = [
                tag("line", x1=x, x2=x, y1=frame.down(share.low), y2=frame.down(share.high), class_="whisker"),
                tag("circle", cx=x, cy=frame.down(share.value or 0.0), r=2.2, class_="dot"),
            ]
            shapes.append(titled(Markup("").join(dot), f"{_clock(s.at)} UTC: {said(share)}"))
    return frame.drawn("accept rate of each half hour of the last 24 hours, with 95 % intervals", *shapes)


def histogram(scores: Scores) -> Markup:
    """Scores of one model as columns, the reference as a line of steps."""
    most = max([b.share or 0.0 for b in scores.bins] + [b.reference or 0.0 for b in scores.bins])
    top = ticks(most)
    width = scores.bins[1].low - scores.bins[0].low
    frame = Frame(WIDE, 210, (scores.bins[0].low, scores.bins[-1].low + width), (0, top[-1]))
    step = frame.across(width) - frame.across(0)
    shapes = [frame.grid(top, [f"{t:.0%}" if top[1] >= 0.01 else f"{t:.1%}" for t in top])]
    if scores.band is not None:
        shapes.append(_band(frame, scores.band))
    shapes.extend(_bin(frame, b, step, width) for b in scores.bins)
    if any(b.reference is not None for b in scores.bins):
        outline = [(x, b.reference or 0.0) for b in scores.bins for x in (b.low, b.low + width)]
        shapes.append(frame.line(outline, "reference"))
    shapes.append(tag("line", x1=frame.across(1), x2=frame.across(1), y1=frame.top, y2=frame.down(0), class_="threshold"))
    shapes.append(frame.below((frame.x[0], 1, frame.x[1]), ("surely rejected", "threshold", "surely accepted")))
    return frame.drawn(f"{scores.rows:,} scores of {scores.model} against the reference", *shapes)


def trace(standing: Standing, width: float = 340.0) -> Markup:
    """The evidence of one monitor over time, as a power of ten, under its alarm line."""
    points = list(standing.points) or [(0.0, 0.0)]
    high = max(standing.line * 1.25, *(v for _, v in points)) + 0.2
    low = max(-2.0, min(0.0, *(v for _, v in points)))
    frame = Frame(width, 110, (points[0][0], points[-1][0]), (low, high), left=34)
    marks = range(0, int(high) + 1, max(1, math.ceil(high / 4)))
    shapes = [frame.grid(marks, [f"1e{t}" if t else "1" for t in marks]), frame.level(standing.line, "alarm", "alarm")]
    shapes.append(frame.line(points if len(points) > 1 else points * 2, f"trace {standing.state}"))
    last = points[-1]
    shapes.append(tag("circle", cx=frame.across(last[0]), cy=frame.down(last[1]), r=2.6, class_=f"dot {standing.state}"))
    if len(points) > 1:
        shapes.append(frame.below((points[0][0], last[0]), (_date(points[0][0]), _date(last[0]))))
    return frame.drawn(f"evidence of {standing.name}: 1e{standing.log10:.1f}, alarm at 1e{standing.line:g}", *shapes)


def said(share: Share) -> str:
    """A share in words.

    >>> said(Share(9, 10)), said(Share(0, 0))
    ('90.0 % of 10 (59.6 to 98.2 %)', 'none')
    """
    if share.value is None:
        return "none"
    return f"{100 * share.value:.1f} % of {share.rows:,} ({100 * share.low:.1f} to {100 * share.high:.1f} %)"


def _column(frame: Frame, at: float, width: float, base: float, count: float, class_: str) -> Markup:
    if not count:
        return Markup("")
    y = frame.down(base + count)
    return tag("rect", x=frame.across(at) + 0.75, y=y, width=width - 1.5, height=frame.down(base) - y, class_=class_)


def _bin(frame: Frame, b: Bin, step: float, width: int) -> Markup:
    x, floor = frame.across(b.low), frame.down(0)
    if b.share is None:
        hidden = tag("rect", x=x + 0.75, y=floor - 6, width=step - 1.5, height=6.0, class_="few")
        return titled(hidden, f"scores {b.low} to {b.low + width - 1}: fewer than {LEAST}, not shown")
    if not b.share:
        return Markup("")
    y = frame.down(b.share)
    column = tag("rect", x=x + 0.75, y=y, width=step - 1.5, height=floor - y, class_="accept" if b.low >= 0 else "reject")
    return titled(column, f"scores {b.low} to {b.low + width - 1}: {b.share:.1%}")


def _band(frame: Frame, band: int) -> Markup:
    left, right = frame.across(-band), frame.across(band + 1)
    shape = tag("rect", x=left, y=frame.top, width=max(1.0, right - left), height=frame.down(0) - frame.top, class_="close")
    return titled(shape, f"close to the threshold: scores of {band} or less")


def _runs(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Stretches without a gap."""
    found: list[list[Slot]] = [[]]
    for s in slots:
        if s.share.value is None:
            found.append([])
        else:
            found[-1].append(s)
    return [run for run in found if len(run) > 1]


def _hours(frame: Frame, slots: Sequence[Slot]) -> Markup:
    marks = [s.at for s in slots if s.at % (4 * 3600) == 0]
    return frame.below(marks, [_clock(at) for at in marks])


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %H:%M")
