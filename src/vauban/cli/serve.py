"""`vauban serve`: the guard, until it is told to stop."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from vauban.cli.output import Output


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The configuration; `vauban guard init` writes one.")] = Path("guard.toml"),
) -> None:
    """Serve a classifier behind the guard: sessions for backends, attempts for devices, a console for operators.

    It stops at SIGTERM or Ctrl-C, once what is being decided is decided.

    \b
    vauban guard init service
    vauban serve service/guard.toml
    """
    from vauban.guard.server.run import serve

    said = Output.of(ctx)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")

    def started(devices: str, operators: str) -> None:
        said.write({"devices": devices, "console": operators})
        said.say(f"devices and backends: {devices}\noperators: {operators}")
        sys.stdout.flush()

    serve(file, started)
