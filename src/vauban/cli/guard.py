"""`vauban guard`: what an operator does with a guard. Each verb is a function in a file of its own; those whose file is here are offered."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import typer

from vauban.cli.edge import guarded

VERBS = {
    "init": ("guard_init", "init"),
    "key": ("guard_init", "key"),
    "rotate-token-key": ("guard_init", "rotate"),
    "models": ("guard_models", "group"),
    "check": ("guard_check", "command"),
    "calibrate": ("guard_calibrate", "command"),
    "verify-ledger": ("guard_ledger", "command"),
}
"""In the order of the help: the file and the function in it; a function called `group` gives a Typer application of several verbs."""


def group() -> typer.Typer:
    """All verbs of the guard."""
    told = "Set up and look after a guard: its keys, models, calibration and ledger."
    app = typer.Typer(help=told, no_args_is_help=True, rich_markup_mode=None)
    for verb, (file, name) in VERBS.items():
        if find_spec(f"vauban.cli.{file}") is None:
            continue
        made = getattr(import_module(f"vauban.cli.{file}"), name)
        if name == "group":
            app.add_typer(made(), name=verb)
        else:
            app.command(verb)(guarded(made))
    return app
