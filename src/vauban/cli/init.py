"""`vauban init`: write a campaign file to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vauban.cli.output import Output
from vauban.errors import BadPlan

RADII = {"linf": "8/255", "l2": "0.5", "l1": "10", "l0": "10"}
"""What eps is proposed for each norm, for inputs in [0, 1]."""


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("vauban.toml"),
    *,
    model: Annotated[str, typer.Option(help='The model: "model.py:build", "package.module:function", "model.onnx", "model.joblib".')] = "",
    data: Annotated[str, typer.Option(help='The data: "digits.npz", a folder of images, "rows.csv", "data.py:load".')] = "",
    weights: Annotated[str, typer.Option(help="Weights for a torch module: safetensors or a state dict.")] = "",
    norm: Annotated[str, typer.Option(help="How a change is measured: linf, l2, l1 or l0.")] = "",
    eps: Annotated[str, typer.Option(help='How far an input may be moved: a number or a fraction such as "8/255".')] = "",
    goal: Annotated[str, typer.Option(help='"untargeted", a wanted class, or "spoof->live".')] = "",
    access: Annotated[str, typer.Option(help="What the attacker sees: none, label, score or gradient.")] = "",
    threat: Annotated[str, typer.Option(help="What to call the threat.")] = "insider",
    bounds: Annotated[str, typer.Option(help='The range of the inputs, such as "0,1".')] = "",
    classes: Annotated[str, typer.Option(help='The names of the classes in the order of the outputs: "spoof,live".')] = "",
    promise: Annotated[str, typer.Option(help="The least robust accuracy to promise, in [0, 1].")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a commented campaign file, asking for what no option says.

    \b
    vauban init --model model.py:build --weights model.safetensors --data digits.npz --eps 8/255
    """
    from vauban.campaign.file.read import read_text
    from vauban.campaign.record import write_atomically
    from vauban.cli.template import Answers, campaign_text

    out = Output.of(ctx)
    if file.exists() and not force:
        raise BadPlan(f"{file} is there already; say --force to overwrite it, or give another name")
    asking = sys.stdin.isatty() and not (model and data)
    said_norm = norm or _asked(asking, "Norm (linf, l2, l1, l0)", "linf")
    answers = Answers(
        model=model or _asked(asking, "Model (model.py:build, model.onnx, ...)", "", "--model"),
        data=data or _asked(asking, "Data (digits.npz, a folder of images, rows.csv, ...)", "", "--data"),
        weights=weights or _asked(asking and ".py:" in model, "Weights (empty if the code loads them)", ""),
        norm=said_norm,
        eps=eps or _asked(asking, "How far an input may be moved", RADII.get(said_norm, "8/255")),
        goal=goal or _asked(asking, 'Goal (untargeted, a wanted class, or "spoof->live")', "untargeted"),
        access=access,
        threat=threat,
        bounds=bounds,
        classes=classes,
        promise=promise,
    )
    text = campaign_text(answers)
    read_text(text, file)
    write_atomically(file, text)
    out.write({"file": str(file)})
    out.say(f"wrote {file}; now `vauban check{'' if file == Path('vauban.toml') else f' {file}'}` loads everything and estimates the time")


def _asked(asking: bool, question: str, default: str, option: str = "") -> str:
    """The answer of a person at a terminal; without one, the default.

    Raises:
        BadPlan: there is no default and nobody to ask.
    """
    if asking:
        return str(typer.prompt(question, default=default or (None if option else ""), show_default=bool(default))).strip()
    if option:
        raise BadPlan(f"{option} is missing, and there is no terminal to ask at; for example --model model.py:build --data digits.npz")
    return default
