"""`vauban check` and `vauban audit` of a campaign about texts."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vauban.cli.edge import INTERRUPTED
from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.attacks import Attack
    from vauban.campaign.file import FileModel
    from vauban.campaign.plan import Siege
    from vauban.campaign.text.plan import TextPlan
    from vauban.cli.trial import Trial
    from vauban.data.texts import Texts

ROWS = 8
"""Texts that every attack is tried on."""


def check(model: FileModel, file: Path, out: Output, *, trust_pickle: bool) -> None:
    """Load everything, try every attack on a few texts, and estimate how long the campaign takes."""
    from vauban.campaign.file.texts import text_plan_of
    from vauban.cli.check import estimate, plan_facts, print_trials

    plan = text_plan_of(model, file, trust_pickle=trust_pickle)
    _print_plan(plan, out)
    found: list[Trial] = []
    each = len(plan.sieges) // len(model.threat)
    for i, siege in enumerate(plan.sieges):
        with model.source.blaming("threat", i // each):
            for attack in siege.attacks:
                out.progress(f"{siege.threat.name}: {attack.name}")
                found.append(_tried(plan, siege, attack))
    out.progress("")
    seconds, notes = estimate(plan, found), list(plan.data.notes)
    out.write({"file": str(file), **plan_facts(plan), "attacks": [asdict(t) for t in found], "seconds": seconds, "notes": notes})
    print_trials(found, seconds, out)
    for note in notes:
        out.say(f"! {note}")


def audit(model: FileModel, file: Path, out: Output, *, run: Path | None, keep_inputs: bool, trust_pickle: bool, command: str) -> int:
    """Carry a campaign out, into a run folder of its own; nothing is resumed, for texts are quick."""
    from vauban.campaign.file.texts import text_plan_of
    from vauban.campaign.text.carry import audit_texts
    from vauban.cli.audit import progress, told

    plan = text_plan_of(model, file, trust_pickle=trust_pickle)
    keep = plan.keep_inputs and keep_inputs
    try:
        with progress(out) as tell:
            record, folder = audit_texts(plan, file.parent / model.run.folder, run, keep_inputs=keep, tell=tell, command=command)
    except KeyboardInterrupt:
        print("vauban: interrupted; of an audit of texts nothing is kept: run it again", file=sys.stderr)
        return INTERRUPTED
    return told(record, folder, out)


def _tried(plan: TextPlan, siege: Siege, attack: Attack) -> Trial:
    """One attack alone on a few texts that the goal concerns."""
    from vauban.campaign.text.siege import besiege
    from vauban.cli.trial import Trial

    few, share = _few(plan, siege)
    fought = besiege(plan.facing(siege.threat), few, replace(siege, attacks=(attack,)), seed=plan.seed, max_rows=plan.max_rows)
    tally, tried = fought.done, fought.done.chunks[0].tries[0]
    rows = max(int(tally.attacked.sum()), 1)
    each = tried.seconds / rows * share * len(plan.data)
    broken = int((tally.broken & (tally.by >= 0)).sum())
    return Trial(siege.threat.name, attack.name, int(tally.attacked.sum()), broken, tried.forwards / rows, tried.backwards / rows, each)


def _few(plan: TextPlan, siege: Siege) -> tuple[Texts, float]:
    """A few texts of the classes that the goal concerns, spread over the data; and the share of all texts that it concerns."""
    import torch

    data, goal = plan.data, siege.threat.goal
    fits = torch.isin(data.y, torch.tensor(goal.sources)) if goal.sources else torch.ones_like(data.y, dtype=torch.bool)
    if isinstance(goal.wanted, int):
        fits &= data.y != goal.wanted
    places = fits.nonzero()[:, 0] if bool(fits.any()) else torch.arange(len(data))
    at = places[torch.linspace(0, len(places) - 1, min(ROWS, len(places))).round().long().unique()]
    return replace(data, texts=tuple(data.texts[i] for i in at.tolist()), y=data.y[at], ids=data.ids[at], groups=None), len(places) / len(
        data
    )


def _print_plan(plan: TextPlan, out: Output) -> None:
    target, data = plan.target, plan.data
    out.say(f"target  {target.name}: {target.kind}, shows {target.access.name.lower()}s")
    names = ", ".join(data.classes[:6]) + (", ..." if len(data.classes) > 6 else "")
    out.say(f"data    {data.name}: {len(data):,} texts, {len(data.classes)} classes ({names})")
    for siege in plan.sieges:
        out.say(f"threat  {siege.threat.name}: {siege.threat.text()}")
