"""`vauban guard calibrate`: measure on the owner's own rows what the watch would reject by mistake, before anything is enforced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.guard.config import GuardFile
    from vauban.guard.keys import Keys
    from vauban.guard.quorum import Ensemble, Verdict
    from vauban.guard.quorum.rows import Rows
    from vauban.guard.watch.calibration import Calibration


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The guard's configuration.")] = Path("guard.toml"),
    *,
    data: Annotated[Path, typer.Option(help="Usual captures that no training has seen: an .npz, or folders of images.")],
    live: Annotated[str, typer.Option(help="The class of the rows that is live: its name or number.")] = "live",
    group: Annotated[str, typer.Option(help="The array of the archive that names each row's kind of attack.")] = "",
    people: Annotated[str, typer.Option(help="The array that says whose each row is; by default all are of different people.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="Rows of every kind are usual traffic, not only live ones.")] = False,
    budget: Annotated[float, typer.Option(help="The share of usual attempts that each check may reject.", min=1e-6, max=0.2)] = 0.01,
    history: Annotated[
        int, typer.Option(help="Captures that are remembered at a time: attempts a day x days of [watch] keep.", min=1)
    ] = 100_000,
    size: Annotated[
        int | None, typer.Option(help="Side of the pictures that are looked at; by default the models' largest.", min=16)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; by default `calibration` of [watch], or watch.json.", metavar="FILE")
    ] = None,
) -> None:
    """Measure how alike, how unusual and how scored usual captures are, and write it, signed by this guard.

    Without that file nothing of the watch can be enforced, and monitors have nothing to compare to. Rows should be as service will be: a thousand
    or more, of different people, from the same cameras. Run it again for every new ensemble.

    \b
    vauban guard calibrate guard.toml --data captures.npz
    """
    from vauban.guard.config import read_guard
    from vauban.guard.keys import read_keys
    from vauban.guard.quorum.rows import read_rows
    from vauban.guard.watch.calibrate import Owner, calibrate
    from vauban.guard.watch.calibration import write_calibration

    said, config = Output.of(ctx), read_guard(file)
    keys, rows = read_keys(config.beside(config.keys)), read_rows(data, live, group)
    used = [i for i, live_row in enumerate(rows.live) if live_row or everything]
    names = people_of(data, people, used) if people else None
    ensembles = ensembles_of(config, keys)
    shape = (size, size) if size else largest(ensembles, rows, used)
    said.progress(f"{len(used)} rows, {len(ensembles)} ensembles")
    verdicts = {e.id: asked(e, config, rows, used) for e in ensembles}
    found = calibrate(keys, Owner(pictures(rows, used, shape), names, verdicts), budget, history)
    where = out or config.beside(config.watch.calibration or Path("watch.json"))
    write_calibration(where, found, keys)
    said.write(told(found))
    said.table(("", ">measured", "what it means"), table(found, {e.id: e.name for e in ensembles}))
    if not ensembles:
        said.note("there is no ensemble in [models] folder: scores were not calibrated")
    said.say(f'{where} is signed. It is used with  [watch] calibration = "{where.name}"')


def ensembles_of(config: GuardFile, keys: Keys) -> list[Ensemble]:
    """All ensembles in the folder of models."""
    from vauban.guard.quorum import read_ensemble
    from vauban.guard.quorum.ensemble import FILE

    folder = config.beside(config.models.folder)
    return [read_ensemble(path.parent, keys.publishers, config.models.approvals) for path in sorted(folder.glob(f"[!.]*/{FILE}"))]


def largest(ensembles: Sequence[Ensemble], rows: Rows, used: Sequence[int]) -> tuple[int, int]:
    """The largest size that a model wants; without models that of the rows."""
    sizes = {s for e in ensembles for s in e.sizes} or {(int(rows.pixels[i].shape[0]), int(rows.pixels[i].shape[1])) for i in used}
    return max(sizes, key=lambda s: (s[0] * s[1], s))


def pictures(rows: Rows, used: Sequence[int], size: tuple[int, int]) -> list[Any]:
    """Rows as the guard decodes them."""
    from vauban.guard.images import Picture

    return [Picture.fitted(rows.pixels[i], [size]).pixels[size] for i in used]


def asked(ensemble: Ensemble, config: GuardFile, rows: Rows, used: Sequence[int]) -> list[Verdict]:
    """What an ensemble says to each row, asked as the guard asks."""
    from vauban.guard.images import Picture

    quorum = ensemble.quorum(config.models.vote, config.models.least, config.models.timeout)
    try:
        return [quorum.ask(Picture.fitted(rows.pixels[i], ensemble.sizes)) for i in used]
    finally:
        quorum.close()


def people_of(data: Path, name: str, used: Sequence[int]) -> list[str]:
    """Whose the used rows are.

    Raises:
        BadData: the archive does not say.
    """
    import numpy as np

    from vauban.errors import BadData, nearest

    if data.is_dir():
        raise BadData(f"--people {name}: {data} is a folder; only an archive (.npz) can say whose its rows are")
    with np.load(data, allow_pickle=False) as held:
        if name not in held.files:
            raise BadData(f"{data}: no array {name!r}; {nearest(name, held.files)}")
        names = held[name].reshape(-1)
    if len(names) <= max(used):
        raise BadData(f"{data}: {name} has {len(names)} entries; give one for each row")
    return [str(names[i]) for i in used]


def table(found: Calibration, names: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What was measured, for people."""
    like, at_once = found.likeness, found.likeness.objects == "first"
    rows = [("rows", f"{found.rows:,}", f"of {found.shape[0]} x {found.shape[1]} pixels")]
    acts = "near-duplicates of others can be rejected at once" if at_once else "too many to reject at once: only clusters in alarm are"
    rows.append(("near a stranger's, bound", f"{like.rate:.2%}", f"of usual attempts, with {like.history:,} remembered; {acts}"))
    if found.usual:
        rows.append(("anomaly", f"{found.usual.share:.2%}", f"of usual attempts at most are above {found.usual.bar:.2f}"))
    else:
        rows.append(("anomaly", "-", "too few rows for that budget: it cannot be enforced"))
    if found.cells:
        rows.append(("outside, bound", f"{found.cells.outside:.2%}", f"of usual attempts are far from all {len(found.cells.shares)} cells"))
    for model, scores in found.models.items():
        rows.append((f"close to the threshold, {model}", f"{scores.close.high:.2%}", f"bound, within {scores.band / 8:g} of log-odds"))
    for kind, rates in (("rejected", found.rejects), ("models disagree", found.splits)):
        rows += [(f"{kind}, {names.get(e, e[:16])}", f"{r.high:.2%}", f"bound; {r.hits} of {r.rows}") for e, r in rates.items()]
    return rows


def told(found: Calibration) -> dict[str, Any]:
    """What was measured, for machines."""
    rates = {kind: {name: vars(r) for name, r in held.items()} for kind, held in (("rejects", found.rejects), ("splits", found.splits))}
    return {
        "rows": found.rows,
        "shape": list(found.shape),
        "near": {**vars(found.likeness), "rate": found.likeness.rate},
        "anomaly": found.usual and {"bar": found.usual.bar, "share": found.usual.share, "rows": found.usual.rows},
        "outside": found.cells and found.cells.outside,
        "close": {name: {"band": s.band, **vars(s.close)} for name, s in found.models.items()},
        **rates,
    }
