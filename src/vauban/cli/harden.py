"""`vauban harden`: adversarial training of the model that a campaign names."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.file import FileModel
    from vauban.campaign.file.hardening import Hardening
    from vauban.defences.training import Hardened, Tick


def command(  # Typer reads the options from the signature
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The campaign file.")] = Path("vauban.toml"),
    out: Annotated[Path | None, typer.Option(help="Where the weights go; by default `out` of [harden].", metavar="FILE")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often every row is seen, instead of the file's.", min=1)] = None,
    seeds: Annotated[int | None, typer.Option(help="How many trainings to choose the best from, instead of the file's.", min=1)] = None,
    export: Annotated[Path | None, typer.Option(help="Write the model as ONNX too, verified to answer alike.", metavar="FILE")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, whatever there is to go on with.")] = False,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled data sources, which can run any code.")] = False,
) -> None:
    """Train the model on the worst inputs that an attack finds, and write the weights that withstood most on held-out rows.

    Beside the weights goes FILE.json, which says how they were made and what they cost. The same command goes on with a training that was
    interrupted, and does nothing when it is done.

    \b
    vauban harden
    vauban harden vauban.toml --epochs 20 --out hardened.safetensors
    vauban harden --seeds 3 --export hardened.onnx
    """
    from vauban.campaign.file import kinds, read_file
    from vauban.campaign.file.hardening import hardening_of
    from vauban.campaign.file.training_record import write_record

    said = Output.of(ctx)
    model = read_file(file)
    if model.data.kind == "text":
        raise model.source.told(("data", "kind"), kinds.ALL)
    todo = hardening_of(model, file, epochs=epochs, seeds=seeds, trust_pickle=trust_pickle)
    weights = out or file.parent / (model.harden.out if model.harden else "hardened.safetensors")
    if export is not None:
        rehearse(todo)
    result = trained(todo, weights, said, fresh=fresh)
    put(result, weights)
    if export is not None:
        write_onnx(todo, export)
    record = write_record(todo, result, weights, export)
    told(result, model, file, weights, said)
    said.say(f"How they were made is written in {record}." + (f" {export} answers as they do." if export else ""))


def rehearse(todo: Hardening) -> None:
    """Write the untrained model as ONNX and throw it away: what cannot be exported is told before the training, not after."""
    from tempfile import TemporaryDirectory

    from vauban.target.onnx_export import export_onnx

    with TemporaryDirectory() as folder:
        export_onnx(todo.target, todo.rows.x[:64], Path(folder) / "model.onnx")


def write_onnx(todo: Hardening, path: Path) -> None:
    """Write the hardened model as ONNX, compared on the held-out rows."""
    from vauban.defences.training.rows import measured
    from vauban.target.onnx_export import export_onnx

    held = measured(todo.rows, todo.target, todo.threat, todo.recipe.held_out, todo.recipe.seed)
    export_onnx(todo.target, held.x, path)


def trained(todo: Hardening, weights: Path, said: Output, *, fresh: bool) -> Hardened:
    """The training, told as it goes; its checkpoint lies beside the weights."""
    from vauban.defences.training import harden

    folder = weights.with_suffix(".training")
    telling = Telling(said)
    try:
        return harden(
            todo.target, todo.rows, todo.threat, todo.attack, todo.recipe, method=todo.method, seeds=todo.seeds,
            checkpoint=folder, fresh=fresh, progress=telling,
        )  # fmt: skip
    except KeyboardInterrupt:
        said.progress("")
        said.note(f"{telling.run}{telling.done} of {todo.recipe.epochs} epochs are kept in {folder}; the same command goes on from there")
        raise


class Telling:
    """Progress for people, on standard error: a line after every epoch, and at a terminal one that shows every step."""

    def __init__(self, said: Output) -> None:
        self.said, self.began, self.first, self.done, self.run = said, time.perf_counter(), 0, 0, ""

    def __call__(self, tick: Tick) -> None:
        from vauban.report.numbers import percent
        from vauban.report.numbers import time as clock

        self.run = "" if tick.seed is None else f"seed {tick.seed}: "
        if tick.measured is not None:
            self.done = tick.epoch
            if not tick.step:
                self.first, self.began = tick.epoch, time.perf_counter()
            self.said.progress("")
            now = tick.measured
            shares = [("clean", now.clean), ("PGD", now.pgd), *([] if now.chosen is None else [(now.chosen_by, now.chosen)])]
            loss = "" if now.loss is None else f", loss {now.loss:.3f}"
            self._line(
                f"{self.run}epoch {tick.epoch} of {tick.epochs}: {', '.join(f'{name} {percent(share)}' for name, share in shares)}{loss}"
            )
            return
        share = (tick.epoch - 1 - self.first + tick.step / tick.steps) / (tick.epochs - self.first)
        left = (time.perf_counter() - self.began) * (1 / share - 1)
        self.said.progress(
            f"{self.run}epoch {tick.epoch} of {tick.epochs}, step {tick.step} of {tick.steps}, loss {tick.loss:.3f}, {clock(left)} left"
        )

    def _line(self, text: str) -> None:
        if not self.said.json:
            self.said.note(text)


def put(result: Hardened, weights: Path) -> None:
    """Copy the kept weights out of the checkpoint, in one piece."""
    if result.path is None:
        return
    weights.parent.mkdir(parents=True, exist_ok=True)
    beside = weights.with_name(f".{weights.name}.part")
    with beside.open("wb") as file:
        file.write(result.path.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(weights)


def told(result: Hardened, model: FileModel, file: Path, weights: Path, said: Output) -> None:
    """Print what came of it: accuracy before and after, what it cost, and the line that puts the weights to use."""
    from vauban.report.numbers import percent
    from vauban.report.numbers import time as clock

    before, after = result.before, result.after
    facts = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in {"path", "history"}}
    said.write({**facts, "weights": str(weights), "seconds": result.seconds, "history": [asdict(e) for e in result.history],
                "runs": [asdict(run) for run in result.runs]})  # fmt: skip
    if result.done_before:
        said.say("finished before; nothing is left to do (--fresh begins anew)")
    rows = [["clean accuracy", percent(before.clean), percent(after.clean)], ["under PGD-20", percent(before.pgd), percent(after.pgd)]]
    if after.chosen is not None:
        rows.append([f"{after.chosen_by} (chosen by)", percent(before.chosen or 0.0), percent(after.chosen)])
    said.table(("held-out rows", ">before", ">after"), rows)
    took = f"{clock(result.seconds)} of training, {result.cost:.1f} times as long as plain training"
    said.say(f"epoch {result.best} of {len(result.history) - 1}, {took}")
    if result.stopped:
        said.say(f"! stopped early: {result.stopped}")
    for note in result.notes:
        said.say(f"! {note}")
    said.say("These rows chose the epoch, and the model may have known them before: only the audit's own rows tell how robust it is.")
    said.say("To audit it, write under [target]:")
    said.say(f'\nweights = "{Path(os.path.relpath(weights, file.parent)).as_posix()}"')
