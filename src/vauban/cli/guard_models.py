"""`vauban guard models`: sign models, put them together, and say which are in service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vauban.cli.edge import guarded
from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.guard.quorum.ensemble import Ensemble
    from vauban.guard.quorum.manifest import Errors

Kind = Literal["logits", "probabilities", "logit", "probability"]
Config = Annotated[Path, typer.Option("--config", "-c", help="The guard's file.", metavar="FILE")]
Key = Annotated[Path, typer.Option(help="The publisher's key; `models key` makes one.", metavar="FILE")]
Index = Annotated[
    int | None,
    typer.Option(
        help='Which output is "live"; of a single number, 1 where it speaks for it. By default the number of the live class in the archive, '
        "which is its place in `classes`; 0 for folders of images.",
        min=0,
        show_default=False,
    ),
]
Live = Annotated[str, typer.Option(help="The class of the rows that is live: its name or number.")]
Group = Annotated[str, typer.Option(help="The array of the archive that names each row's kind of attack.")]


def group() -> typer.Typer:
    """All verbs about models."""
    from vauban.cli import guard_models_state as state

    app = typer.Typer(help="Sign models, put them together, and say which are in service.", no_args_is_help=True, rich_markup_mode=None)
    for name, verb in {"key": key, "trust": trust, "sign": sign, "bundle": bundle, "approve": approve, "cost": cost, **state.VERBS}.items():
        app.command(name)(guarded(verb))
    return app


def key(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the private key goes.")],
) -> None:
    """Make a key to sign models with. Keep it away from the guard's machines; they need the public half only.

    \b
    vauban guard models key publisher.key
    """
    from vauban.guard.keys import key_id, raw
    from vauban.guard.quorum.signed import make_publisher

    out, public = Output.of(ctx), make_publisher(file)
    out.write({"id": key_id(public), "public": raw(public).hex()})
    out.say(f"{file} signs models; nobody else may read it. Each guard must trust its public half:")
    out.say(f"  vauban guard models trust {raw(public).hex()}")


def trust(
    ctx: typer.Context,
    public: Annotated[str, typer.Argument(help="The public key: 64 hexadecimal digits.")],
    config: Config = Path("guard.toml"),
) -> None:
    """Let the owner of a key sign models for this guard."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from vauban.errors import BadGuard
    from vauban.guard.config import read_guard
    from vauban.guard.keys import key_id, write_publisher

    try:
        held = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError as error:
        raise BadGuard(f"{public!r:.80} is no public key; 64 hexadecimal digits are expected") from error
    told = read_guard(config)
    path = write_publisher(told.beside(told.keys), held)
    Output.of(ctx).say(f"{path}: models signed with {key_id(held)} are accepted from the next start on.")


def sign(
    ctx: typer.Context,
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    *,
    data: Annotated[Path, typer.Option(help="Live rows and attacks that no training has seen: an .npz, or folders of images.")],
    key: Key,
    family: Annotated[str, typer.Option(help='The architecture family, such as "resnet".')],
    name: Annotated[str, typer.Option(help="What the model is called; by default the name of the file.")] = "",
    live: Live = "live",
    group: Group = "",
    output: Annotated[Kind, typer.Option(help="What the model answers; a logit or a probability is a single number.")] = "logits",
    index: Index = None,
    mean: Annotated[str, typer.Option(help='Of each channel, such as "0.5,0.5,0.5", where the file does not normalise by itself.')] = "",
    std: Annotated[str, typer.Option(help="Of each channel, likewise.")] = "",
    rejected: Annotated[
        float, typer.Option(help="The share of live attempts that may be rejected; above 0, below 1.", min=0, max=1)
    ] = 0.05,
    training: Annotated[Path | None, typer.Option(help="What `vauban harden` wrote beside the weights: evidence.", metavar="JSON")] = None,
) -> None:
    """Calibrate a model to its operating point, and write its signed manifest beside it.

    The threshold is the highest at which the rejected share of live rows is at most `--rejected`, by the upper end of its exact 95% interval.

    \b
    vauban guard models sign plain.onnx --data calibration.npz --group species --family convolutional --key publisher.key
    """
    from vauban.guard.quorum.calibrate import Asked
    from vauban.guard.quorum.calibrate import sign as signed
    from vauban.guard.quorum.evidence import evidence_of
    from vauban.guard.quorum.rows import read_rows
    from vauban.guard.quorum.signed import read_publisher

    out = Output.of(ctx)
    told: dict[str, Any] = {"kind": output, "mean": _numbers(mean), "std": _numbers(std)}
    evidence, rows = evidence_of(training, model) if training else None, read_rows(data, live, group)
    asked = Asked(name or model.stem, family, (rows.number or 0) if index is None else index, budget=rejected, evidence=evidence, **told)
    manifest = signed(model, rows, asked, read_publisher(key))
    found = manifest.calibration
    out.write({"model": manifest.model, "threshold": manifest.threshold, "calibration": found.model_dump(mode="json")})
    out.say(f"{model.with_suffix('.json')}: model {manifest.model} accepts above {manifest.threshold:+.3f} (log-odds of live)")
    errors_told(out, found.live, found.attacks)
    if not found.attacks:
        out.note(f"{data} holds no attacks: what they get from model {manifest.model} was not measured")


def bundle(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The ensemble's new folder, in [models] folder; its name is the ensemble's.")],
    manifests: Annotated[list[Path], typer.Argument(help="The manifests of its models.")],
    *,
    key: Key,
    data: Annotated[Path | None, typer.Option(help="Rows to measure what the models do together.")] = None,
    live: Live = "live",
    group: Group = "",
    majority: Annotated[bool, typer.Option("--majority", help="Most must accept, not all; as in [models] vote.")] = False,
) -> None:
    """Put models of different families together, and sign that they belong so.

    \b
    vauban guard models bundle models/2026-11 plain.json mobile.json mixer.json --data calibration.npz --key publisher.key
    """
    from vauban.guard.quorum.ensemble import bundle as bundled
    from vauban.guard.quorum.rows import read_rows
    from vauban.guard.quorum.signed import read_publisher

    out, rows = Output.of(ctx), read_rows(data, live, group) if data else None
    made = bundled(folder, folder.name, manifests, read_publisher(key), rows, "majority" if majority else "unanimous")
    out.write({"ensemble": made.name, "id": made.id, "families": made.families, "measured": made.measured and made.measured.model_dump()})
    out.say(f"{folder}: ensemble {made.name} ({made.id[:16]}) of {', '.join(made.families)}")
    if made.measured:
        errors_told(out, made.measured.live, made.measured.attacks)
    for doubt in doubts_about(made):
        out.note(doubt)


def doubts_about(made: Ensemble) -> list[str]:
    """What its publisher should know of a new ensemble before it serves, one sentence each."""
    from vauban.guard.config.model import Models

    found, most = made.measured, Models().rejected
    doubts: list[str] = []
    if found is None or not found.attacks:
        why = "without --data" if found is None else "the rows hold no attacks"
        doubts.append(f"{why}: what attacks get from ensemble {made.name} was not measured")
    if found is not None and found.live.bounds[1] > most:
        told = f"rejects up to {found.live.bounds[1]:.1%} of live rows; a successor may reject {most:.0%} by [models] rejected"
        doubts.append(f"ensemble {made.name} {told}")
    if len(made.manifests) == 1:
        doubts.append(f"ensemble {made.name} is one model: what fools it is accepted; two or three of different families are recommended")
    return doubts


def approve(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The ensemble's folder.")],
    *,
    key: Key,
) -> None:
    """Sign an ensemble as a second publisher, where [models] approvals asks for two."""
    from vauban.guard.quorum.ensemble import FILE
    from vauban.guard.quorum.signed import approved, read_document, read_publisher, write_document

    path = folder / FILE
    document = approved(read_document(path), read_publisher(key))
    write_document(path, document)
    Output.of(ctx).say(f"{path}: signed by {', '.join(document['signatures'])}")


def cost(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The run folder of an audit of what is to be served.")],
    *,
    threat: Annotated[str, typer.Option(help="The threat of an attacker who sees accept or reject.")],
    share: Annotated[float, typer.Option(help="Of the rows that must be broken.", min=0, max=1)] = 0.1,
    devices: Annotated[int, typer.Option(help="Devices that an attacker is thought to have.", min=1)] = 10,
    config: Config = Path("guard.toml"),
) -> int:
    """What our own attacks needed, and the days that leaves an ensemble: two lines for [models] of the guard's file.

    Exit code 3 if the audit asked too little to tell.
    """
    from vauban.campaign.record import Record
    from vauban.errors import BadGuard, nearest
    from vauban.guard.config import read_guard
    from vauban.guard.rotation.budget import allowed_days
    from vauban.guard.rotation.cost import attack_cost

    out, record, file = Output.of(ctx), Record.read(run), read_guard(config)
    if threat not in {f.name for f in record.findings}:
        raise BadGuard(f"{run}: has no threat {threat!r}; {nearest(threat, [f.name for f in record.findings])}")
    found = attack_cost(record[threat], share)
    days = allowed_days(file.models.model_copy(update={"attack_cost": found.questions, "attack_devices": devices}), file.limits)
    out.write({"attack_cost": found.questions, "reached": found.reached, "attack_devices": devices, "days": days})
    if not found.reached:
        told = f"{found.broken} of {found.rows} rows were broken by up to {found.questions} questions, fewer than {100 * share:g}%"
        out.say(f"{told}: what it costs is not known; audit with more `queries`")
        return 3
    out.say(f"# {found.broken} of {found.rows} rows were broken, {100 * share:g}% of all by this many questions")
    out.say(f"attack_cost = {found.questions}\nattack_devices = {devices}")
    out.say(f"# an ensemble then serves {days:.1f} days")
    return 0


def errors_told(out: Output, live: Errors, attacks: dict[str, Errors]) -> None:
    """A table of what was decided wrongly."""

    def row(name: str, found: Errors) -> tuple[str, str, str, str]:
        low, high = found.bounds
        share = found.wrong / found.rows if found.rows else 0.0
        return name, f"{found.rows}", f"{share:.1%}", f"[{100 * low:.1f}, {100 * high:.1f}]"

    found = [row("live, rejected", live), *(row(f"{kind}, accepted", errors) for kind, errors in attacks.items())]
    out.table(("", ">rows", ">wrong", ">exact 95%"), found)


def _numbers(told: str) -> tuple[float, ...] | None:
    from vauban.errors import BadGuard

    try:
        return tuple(float(n) for n in told.split(",")) if told else None
    except ValueError as error:
        raise BadGuard(f'{told!r} is no list of numbers; write it as in "0.5,0.5,0.5"') from error
