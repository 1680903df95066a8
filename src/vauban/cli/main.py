"""The entry point: finds the verb, runs it, and turns whatever comes of it into an exit code. A crash is never 1.

Verbs are imported to learn their options, so their modules import nothing heavy at the top.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from vauban.cli.edge import guarded
from vauban.cli.output import Output

VERBS = ("init", "check", "audit", "show", "gate", "diff", "judge", "harden", "certify", "matrix", "serve", "guard", "list")
"""In the order of the help; those whose file is here are offered."""
GLOBAL = ("--plain", "--json", "-q", "--quiet")
"""Options of every verb, which may stand before it or after it."""


def entry() -> None:
    """Run the command line and leave the process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore  # a terminal without some glyph gets "?", not a crash
    args = hoisted(sys.argv[1:])
    application(asked(args))(args=args, prog_name="vauban")


def asked(args: list[str]) -> tuple[str, ...]:
    """The verb that arguments ask for; all of them where that takes knowing them all: for help, or a name that is none.

    >>> asked(["--json", "show", "gate"]), asked(["--help"]) == VERBS
    (('show',), True)
    """
    word = next((a for a in args if a not in GLOBAL), "")
    return (word,) if word in VERBS else VERBS


def application(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """Verbs as one Typer application; Typer takes time over every option of every verb, so one is made when one is asked for."""
    app = typer.Typer(
        name="vauban",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globals)
    for verb in verbs:
        if find_spec(f"vauban.cli.{verb}") is not None:
            module = import_module(f"vauban.cli.{verb}")
            if hasattr(module, "group"):
                app.add_typer(module.group(), name=verb)
            else:
                app.command(verb)(guarded(module.command))
    return app


def hoisted(args: list[str]) -> list[str]:
    """The arguments with global options moved to the front, up to a "--".

    >>> hoisted(["show", "latest", "--json", "--", "-q"])
    ['--json', 'show', 'latest', '--', '-q']
    """
    end = args.index("--") if "--" in args else len(args)
    head, tail = args[:end], args[end:]
    return [a for a in head if a in GLOBAL] + [a for a in head if a not in GLOBAL] + tail


def _version(wanted: bool) -> None:
    if wanted:
        from vauban.version import __version__

        print(f"vauban {__version__}")
        raise typer.Exit


def _globals(
    ctx: typer.Context,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="No colour and no box glyphs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on standard output, and nothing else there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on standard output; the exit code tells.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Attack a model under stated threats, measure honestly how it stood, and gate its release.

    Exit codes: 0 holds, 1 breached, 2 unable, 3 inconclusive, 130 interrupted.

    \b
    vauban init --model model.py:build --data digits.npz
    vauban check
    vauban audit
    vauban gate
    """
    ctx.obj = Output(plain, json, quiet)
