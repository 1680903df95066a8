"""`vauban guard verify-ledger`: read the whole ledger and say where it was changed, if it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vauban.cli.output import Output
from vauban.errors import BadLedger


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The guard's configuration.")] = Path("guard.toml"),
    *,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(help="A file of signed checkpoints; give all of them where several nodes write one. Default: the configuration's."),
    ] = None,
) -> int:
    """Verify the ledger: exit code 0 nothing was changed, 1 something was, 2 it cannot be read.

    \b
    vauban guard verify-ledger guard.toml
    vauban guard verify-ledger guard.toml --anchor node-a.jsonl --anchor node-b.jsonl
    """
    from vauban.guard.config import read_guard
    from vauban.guard.keys import read_keys
    from vauban.guard.ledger import verify
    from vauban.guard.ledger.beside import differing
    from vauban.guard.storage import Store

    out, config = Output.of(ctx), read_guard(file)
    given = anchor or [p for p in (config.beside(config.ledger.anchor),) if p.exists()]
    store = Store(config.database_url, patience=30)
    if store.sqlite and not Path(str(store.engine.url.database)).exists():
        raise BadLedger(f"{store.engine.url.database}: there is no database yet; `vauban serve` makes it")
    try:
        checked = verify(store, read_keys(config.beside(config.keys)), given)
        differs = differing(store) if checked.holds else ""
    finally:
        store.close()
    if not given:
        out.note("no file of checkpoints was found: rows cut off the end together with their count are not missed; give --anchor FILE")
    lost = not given and checked.told > 0
    holds = checked.holds and not lost and not differs
    newest = None if checked.newest is None else datetime.fromtimestamp(checked.newest, UTC).isoformat(timespec="seconds")
    faults = [{"chain": f.chain, "row": f.seq, "why": f.why} for f in checked.faults]
    told = {"holds": holds, "rows": checked.rows, "chains": checked.chains, "checkpoints": checked.checkpoints, "newest": newest}
    if lost:
        where = str(config.beside(config.ledger.anchor))
        faults.append({"chain": where, "row": None, "why": f"is missing: {checked.told} rows tell of checkpoints that were signed into it"})
    if differs:
        faults.append({"chain": "attempts", "row": None, "why": differs})
    out.write({**told, "faults": faults})
    out.table(("chain", ">rows in order"), [(name, f"{rows:,}") for name, rows in checked.chains.items()])
    out.say(f"{checked.checkpoints} signed checkpoints{f', the newest of {newest}' if newest else ''}")
    for fault in checked.faults:
        out.say(f"CHANGED  {fault}")
    if differs:
        out.say(f"CHANGED  {differs}")
    if lost:
        out.say(f"MISSING  {config.beside(config.ledger.anchor)}: {checked.told} rows tell of checkpoints that were signed into it")
    out.say(f"the ledger {'holds' if holds else 'was changed'}: {checked.rows:,} rows are in order")
    return 0 if holds else 1
