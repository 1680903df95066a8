"""The one place where exceptions are caught: at the edge of a verb, where each becomes a sentence and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

import typer

from vauban.errors import VaubanError

P = ParamSpec("P")
UNABLE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def guarded(verb: Callable[P, int | None]) -> Callable[P, None]:
    """The verb as Typer runs it: what it returns is the exit code, and so is whatever goes wrong; 1 is left to broken promises."""

    @functools.wraps(verb)
    def run(*args: P.args, **options: P.kwargs) -> None:
        raise typer.Exit(_code(lambda: verb(*args, **options)))

    return run


def _code(verb: Callable[[], int | None]) -> int:
    try:
        code = verb()
        sys.stdout.flush()
    except VaubanError as error:
        return _told(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return _told("interrupted; what was finished is kept", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it closes standard output
        return PIPE_CLOSED
    except typer.Exit:
        raise
    except SystemExit as end:
        return _told(f"something that was loaded called exit({end.code}); this is no verdict on the model")
    except OSError as error:
        return _told(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except Exception as error:
        return _crashed(error)
    return int(code or 0)


def _told(sentence: str, code: int = UNABLE) -> int:
    print(f"vauban: {sentence}", file=sys.stderr)
    return code


def _crashed(error: Exception) -> int:
    import traceback

    traceback.print_exception(error)
    return _told(f"stopped by an error that nobody foresaw, {type(error).__name__}, at the place above; this is no verdict on the model")
