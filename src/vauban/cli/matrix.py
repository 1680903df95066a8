"""`vauban matrix`: defences side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vauban.cli.output import Output

if TYPE_CHECKING:
    from vauban.campaign.matrix.result import Matrix
    from vauban.defences.training import Tick


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The campaign file, with a [matrix].")] = Path("vauban.toml"),
    *,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Read pickled models, which can run any code.")] = False,
) -> None:
    """Attack every defence that [matrix] names with every attack, naive and adaptive, and say which to take.

    The same command goes on with a matrix that was interrupted, and measures nothing twice.

    \b
    vauban matrix
    vauban matrix defences.toml
    """
    from vauban.campaign.file import kinds, read_file
    from vauban.campaign.matrix.run import Listeners, matrix_of
    from vauban.report.matrix import write_page

    out = Output.of(ctx)
    model = read_file(file)
    if model.data.kind == "text":
        raise model.source.told(("data", "kind"), kinds.ALL)
    folder = file.parent / (model.matrix.folder if model.matrix else "matrix")

    def kept(so_far: Matrix) -> None:
        so_far.write(folder)
        write_page(so_far, folder)

    telling = Listeners(tell=lambda text: _told(out, text), tick=lambda tick: _ticked(out, tick), so_far=kept)
    matrix = matrix_of(model, file, trust_pickle=trust_pickle, listeners=telling)
    out.progress("")
    shown(matrix, folder, out)


def _told(out: Output, text: str) -> None:
    out.progress("")
    if out.talks:
        out.note(text)


def _ticked(out: Output, tick: Tick) -> None:
    out.progress(f"epoch {tick.epoch} of {tick.epochs}, step {tick.step} of {tick.steps}, loss {tick.loss:.3f}")


def shown(matrix: Matrix, folder: Path, out: Output) -> None:
    """Print the matrix, what to take from it, and where its page lies."""
    from vauban.campaign.matrix.front import advice
    from vauban.report.matrix import cells, heads

    told = advice(matrix)
    out.write(matrix)
    out.table(heads(matrix), [cells(matrix, line, told.front) for line in matrix.lines])
    out.say(told.text)
    out.say("* none of the other lines beats it. Naive: the attacker does not know of the defence, which is no measure of it.")
    out.say(f"\npage: {folder / 'matrix.html'}\ntable: {folder / 'matrix.csv'}")
