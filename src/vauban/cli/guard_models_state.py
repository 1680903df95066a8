"""`vauban guard models ...`: which ensemble is in which state; the gate, roll-out, roll-back and replay."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.guard.config import GuardFile
    from vauban.guard.keys import Keys
    from vauban.guard.rotation import Rotation
    from vauban.guard.rotation.roster import Entry
    from vauban.guard.storage import Store

Config = Annotated[Path, typer.Option("--config", "-c", help="The guard's file.", metavar="FILE")]
Name = Annotated[str, typer.Argument(help="The ensemble: its name, or the start of its id.")]
Why = Annotated[str, typer.Option(help="Why; it is written down.")]
Override = Annotated[str, typer.Option(help="Pass over what it has not shown, for this reason; it is written down.", metavar="REASON")]
HERE = Path("guard.toml")


@dataclass(frozen=True)
class Opened:
    """What the file of a guard leads to."""

    file: GuardFile
    keys: Keys
    store: Store
    folder: Path
    rotation: Rotation


def opened(config: Path) -> Opened:
    """The guard's database and keys."""
    from vauban.guard.config import read_guard
    from vauban.guard.keys import read_keys
    from vauban.guard.ledger import Ledger
    from vauban.guard.rotation import Rotation
    from vauban.guard.storage import Store

    file = read_guard(config)
    keys, store = read_keys(file.beside(file.keys)), Store(file.database_url, patience=5.0)
    store.create()
    user = getpass.getuser()
    rotation = Rotation(store, file.models, user, Ledger(keys, f"models/{user}").append)
    return Opened(file, keys, store, file.beside(file.models.folder), rotation)


def show(ctx: typer.Context, config: Config = HERE) -> None:
    """Show all ensembles: their state, age, and questions answered."""
    from vauban.guard.rotation.roster import Roster, every
    from vauban.guard.rotation.tally import disagreement, tally_of

    out, guard = Output.of(ctx), opened(config)
    roster = Roster(guard.keys, guard.file.models, guard.file.limits)
    with guard.store.read() as tx:
        held = every(tx)
        used = {e.id: roster.spent(tx, e).text() if e.live_at else "" for e in held}
        seen = {e.id: (disagreement(tx, e.id), tally_of(tx, e.id, e.id, "canary")) for e in held}
    out.write([{**asdict(e), "used": used[e.id]} for e in held])

    def way(entry: Entry) -> str:
        shadow, canary = seen[entry.id]
        told = [f"{shadow.rows} in shadow, {shadow.apart} otherwise"] if shadow.rows else []
        return "; ".join(told + ([f"{canary.rows} as canary, {canary.accepted} accepted"] if canary.rows else []))

    out.table(
        ("ensemble", "id", "state", "families", "used", "on its way"),
        [(e.name, e.id[:16], e.state + (f" {e.percent:g}%" if e.percent else ""), ", ".join(e.families), used[e.id], way(e)) for e in held],
    )


def register(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The ensemble's folder.")],
    config: Config = HERE,
) -> None:
    """Verify an ensemble, seal a copy of it, and make it known. Nothing else changes."""
    from vauban.guard.quorum import read_ensemble
    from vauban.guard.rotation.seal import seal

    guard = opened(config)
    found = read_ensemble(folder, guard.keys.publishers, guard.file.models.approvals)
    guard.rotation.register(seal(guard.folder, found, guard.keys.publishers))
    Output.of(ctx).say(f"ensemble {found.name} ({found.id[:16]}) of {', '.join(found.families)} is registered")


def gate(
    ctx: typer.Context,
    name: Name,
    *,
    data: Annotated[Path, typer.Option(help="Live rows and attacks that nothing was trained or calibrated on.")],
    fooling: Annotated[Path, typer.Option(help="Adversarial examples made on the live ensemble: a run's adversarial/, .npz, images.")],
    live: Annotated[str, typer.Option(help="The class of the rows that is live.")] = "live",
    group: Annotated[str, typer.Option(help="The array that names each row's kind of attack.")] = "",
    config: Config = HERE,
) -> int:
    """May this ensemble take the place of the live one? Exit code 0 yes, 1 no, 2 not enough to say.

    \b
    vauban guard models gate 2026-12 --data fresh.npz --group species --fooling runs/live/adversarial
    """
    from vauban.errors import BadGuard
    from vauban.guard.quorum.rows import read_pictures, read_rows
    from vauban.guard.rotation.gate import BREACHED, HOLDS, judge, passes
    from vauban.guard.rotation.roster import named, recently_live
    from vauban.guard.rotation.seal import sealed

    out, guard = Output.of(ctx), opened(config)
    with guard.store.read() as tx:
        entry, recent = named(tx, name), recently_live(tx, max(1, guard.file.models.recent))
    if not recent or recent[0].id == entry.id:
        raise BadGuard(f"ensemble {entry.name} has nothing to succeed to; the gate compares it to the live one")
    new, old = (sealed(guard.folder, e.id, guard.keys.publishers) for e in (entry, recent[0]))
    found = judge(new, old, [e.families for e in recent], read_rows(data, live, group), read_pictures(fooling), guard.file.models)
    with guard.store.write() as tx:
        guard.rotation.judged(tx, new.id, old.id, passes(found), [f.facts() for f in found])
    out.write({"ensemble": new.name, "retiring": old.name, "passes": passes(found), "findings": [f.facts() for f in found]})
    out.table(("", "", ""), [(f.verdict, f.name, f.text) for f in found])
    verdicts = {f.verdict for f in found}
    return 0 if verdicts == {HOLDS} else 1 if BREACHED in verdicts else 2


def shadow(ctx: typer.Context, name: Name, why: Why = "", config: Config = HERE) -> None:
    """Let an ensemble answer beside the live one; what it says decides nothing."""
    told(ctx, opened(config).rotation.shadow(name, why))


def canary(
    ctx: typer.Context,
    name: Name,
    percent: Annotated[float, typer.Option(help="Of devices.", min=0, max=100)] = 1.0,
    why: Why = "",
    override: Override = "",
    config: Config = HERE,
) -> None:
    """Let an ensemble decide for a share of the devices. It is taken back by itself if it accepts otherwise than the live one."""
    told(ctx, opened(config).rotation.canary(name, percent, why, override), override)


def live(ctx: typer.Context, name: Name, why: Why = "", override: Override = "", config: Config = HERE) -> None:
    """Let an ensemble decide everything; the one that did is retired. The first ensemble of a guard needs no gate."""
    from vauban.guard.quorum import read_ensemble
    from vauban.guard.rotation.roster import named, recently_live
    from vauban.guard.rotation.seal import sealed

    guard = opened(config)
    with guard.store.read() as tx:
        before = recently_live(tx, 1)
        first = None if before else named(tx, name)
    if first is not None:
        guard.rotation.begin(read_ensemble(sealed(guard.folder, first.id, guard.keys.publishers).folder, guard.keys.publishers))
        Output.of(ctx).say(f"ensemble {first.name} is live: the first of this guard")
        return
    told(ctx, guard.rotation.live(name, why, override), override, f"; {before[0].name} is retired, and `roll-back` brings it back")


def retire(ctx: typer.Context, name: Name, why: Why = "", config: Config = HERE) -> None:
    """Take an ensemble that is not live off its way."""
    told(ctx, opened(config).rotation.retire(name, why))


def roll_back(ctx: typer.Context, why: Why = "", config: Config = HERE) -> None:
    """One step back: what is on its way is retired; if nothing is, the ensemble that was live before is live again."""
    told(ctx, opened(config).rotation.roll_back(why))


def replay(
    ctx: typer.Context,
    image: Annotated[Path, typer.Argument(help="The image as it was sent.")],
    attempt: Annotated[int, typer.Option(help="The attempt it was sent in; what was written down is compared.", min=0)] = 0,
    ensemble: Annotated[str, typer.Option(help="The ensemble to ask; by default that of the attempt.")] = "",
    config: Config = HERE,
) -> int:
    """Ask a sealed ensemble again. Exit code 1 if it says otherwise than was written down."""
    from vauban.errors import BadGuard
    from vauban.guard.images import Decoder
    from vauban.guard.rotation.replay import decision_of, differs, replayed
    from vauban.guard.rotation.roster import named
    from vauban.guard.rotation.seal import sealed

    out, guard = Output.of(ctx), opened(config)
    if not attempt and not ensemble:
        raise BadGuard("say --attempt, --ensemble, or both")
    with guard.store.read() as tx:
        was = decision_of(tx, attempt) if attempt else None
        name = named(tx, ensemble).id if ensemble else was.ensemble if was else ""
    found = sealed(guard.folder, name, guard.keys.publishers)
    decoder = Decoder(found.sizes, guard.file.listen.pixels)
    try:
        verdict = replayed(found, decoder.decode(image.read_bytes()), guard.file.models)
    finally:
        decoder.close()
    wrong = differs(was, verdict) if was else []
    out.write({"ensemble": found.name, "accept": verdict.accept, "scores": verdict.scores, "differs": wrong})
    out.say(f"ensemble {found.name} ({found.id[:16]}) says {'accept' if verdict.accept else 'reject'}")
    out.table(
        ("model", ">log-odds above the threshold", "vote"),
        [(v.model, "" if v.score is None else f"{v.score:+.3f}", v.why or str(v.accept)) for v in verdict.votes],
    )
    for line in wrong or (["as was written down"] if was else []):
        out.say(line)
    return int(bool(wrong))


def told(ctx: typer.Context, entry: Entry, override: str = "", also: str = "") -> None:
    """Where an ensemble is now, what that did to another, and whether what it has to show first was passed over."""
    out = Output.of(ctx)
    out.write(asdict(entry))
    out.say(f"ensemble {entry.name} is {entry.state}{f', for {entry.percent:g}% of devices' if entry.percent else ''}{also}")
    if override:
        out.say(f"what it had not shown was passed over, and the ledger says why: {override}")


VERBS: dict[str, Callable[..., int | None]] = {
    "show": show,
    "register": register,
    "gate": gate,
    "shadow": shadow,
    "canary": canary,
    "live": live,
    "retire": retire,
    "roll-back": roll_back,
    "replay": replay,
}
