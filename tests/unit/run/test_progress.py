"""Progress for people and for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from vauban.campaign.plan import Plan
from vauban.campaign.run import JsonLines, Several, audit_plan
from vauban.campaign.run.events import AttackFinished, ChunkFinished, ChunkStarted, Event, Finished, Opened, SiegeStarted
from vauban.campaign.run.lines import Bars, PlainLines
from vauban.data import Rows

Make = Callable[..., Plan]
Data = Callable[..., Rows]


def test_events_come_in_order_and_say_what_is_left(plan: Make, rows: Data) -> None:
    seen: list[Event] = []
    audit_plan(plan(rows([0.55, 0.8, 0.9], [1, 1, 1]), attacks=("fgsm", "bim"), chunk=2), progress=seen.append, doubters=())
    chunk = [ChunkStarted, AttackFinished, AttackFinished, ChunkFinished]
    assert [type(e) for e in seen] == [Opened, SiegeStarted, *chunk, *chunk, Finished]
    assert [(e.attack, e.left) for e in seen if isinstance(e, AttackFinished)] == [("fgsm", 1), ("bim", 1), ("fgsm", 1), ("bim", 1)]
    assert [(e.rows, e.standing) for e in seen if isinstance(e, ChunkFinished)] == [(2, 1), (3, 2)]
    etas = [e.eta for e in seen if isinstance(e, ChunkFinished)]
    assert etas[0] is not None
    assert etas[0] > 0
    assert etas[1] == 0


def test_lines_json_and_bars_hear_the_same(plan: Make, rows: Data) -> None:
    lines: list[str] = []
    out, screen = io.StringIO(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with Bars(console) as bars:
        listeners = Several(PlainLines(lines.append), JsonLines(out), bars)
        audit_plan(plan(rows([0.55, 0.8, 0.9], [1, 1, 1]), chunk=2), progress=listeners, doubters=())
    assert lines[0] == "a test: HalfSpace, 3 rows, 1 threat"
    assert lines[1].startswith("insider: chunk 1 of 2, 1 of 2 rows stand (50.0%), about")
    assert len(lines) == 3
    events: list[dict[str, Any]] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["event"] for e in events][:3] == ["opened", "siege-started", "chunk-started"]
    assert events[-1]["event"] == "finished"
    assert "insider" in screen.getvalue()
