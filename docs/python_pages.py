"""The pages of the public names and of the record, from their docstrings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from page_parts import entries_of, first_line, plain, table

import vauban
from vauban.campaign.cards import DataCard, DefenceCard, TargetCard, ThreatCard
from vauban.campaign.ledger import Ledger
from vauban.campaign.record import SCHEMA, AttackResult, Curve, Doubt, Finding, Group, Promise, Record
from vauban.campaign.validity import Validity
from vauban.measure.rate import Rate

RECORD = (
    Record, TargetCard, DefenceCard, DataCard, Finding, ThreatCard, AttackResult, Ledger, Rate, Curve, Group, Validity, Doubt, Promise,
)  # fmt: skip
"""What a record is made of, in the order of the page."""


def python_page() -> str:
    """The public names of the package."""
    names = [n for n in vauban.__all__ if not n.startswith("__")]
    found = {n: getattr(vauban, n) for n in sorted(names, key=lambda n: (n != "audit", n.lower()))}
    intro = (
        "# Python\n\nEverything below is imported from `vauban`; attacks from `vauban.attacks` by name (`from vauban.attacks import pgd`), "
        "errors from `vauban.errors`. A name is loaded when it is first used, so that `import vauban` does not import torch.\n"
    )
    rows = ([f"[`{n}`](#{n.lower()})", plain(first_line(v))] for n, v in found.items())
    parts = [intro, table(["name", "what it is"], rows), *(_member(n, v) for n, v in found.items())]
    return "\n".join(parts)


def _member(name: str, value: object) -> str:
    parts = [f"## {name}", plain(first_line(value))]
    for section in ("Args", "Attributes", "Returns", "Raises"):
        entries = list(entries_of(value, section))
        if entries:
            parts += [f"{section}:", "\n".join(f"* `{n}`: {plain(t)}" if n else f"* {plain(t)}" for n, t in entries)]
    return "\n\n".join(parts) + "\n"


def record_page() -> str:
    """The format of `record.json`."""
    intro = (
        f"# The record\n\n`record.json` is written once, atomically, at the end of a run. Its format is {SCHEMA} (`schema`); "
        "a record of another format is refused. It is plain JSON: `vauban show --json` prints it, and "
        "`vauban.Record.read(path)` reads it without importing torch.\n"
    )
    return "\n".join([intro, *map(_shape, RECORD)])


def _shape(kind: Any) -> str:
    said = {n.strip(): t for names, t in entries_of(kind, "Attributes") for n in names.split(",")}
    rows = ([f"`{f.name}`", f"`{f.type}`", plain(said.get(f.name, ""))] for f in fields(kind))
    return f"## {kind.__name__}\n\n{plain(first_line(kind))}\n\n" + table(["field", "type", "meaning"], rows)
