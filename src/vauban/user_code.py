"""Objects named as "file.py:name" or "package.module:name": imported, called, and their errors told in one sentence."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from vauban.errors import BadTarget, VaubanError, nearest

Failure = type[VaubanError]


def is_code(spec: str) -> bool:
    """Whether it reads as "file.py:name" or "package.module:name"."""
    where, _, name = spec.rpartition(":")
    return name.isidentifier() and (where.endswith(".py") or all(part.isidentifier() for part in where.split(".")))


def find(spec: str, base: Path = Path(), failure: Failure = BadTarget) -> Any:
    """The object that the spec names.

    Args:
        spec: "file.py:name", the path relative to `base`, or "package.module:name", sought in `base` too.
        failure: the class of the errors raised.

    A file is imported afresh, under a name of its own; its folder is on `sys.path` only meanwhile.
    """
    if not is_code(spec):
        raise failure(f'{spec!r} names no code; write "file.py:function" or "package.module:function"')
    where, _, name = spec.rpartition(":")
    module = _from_file(base / where, failure) if where.endswith(".py") else _from_package(where, base, failure)
    if not hasattr(module, name):
        known = [n for n, v in vars(module).items() if not n.startswith("_") and not inspect.ismodule(v)]
        raise failure(f"{where} has no {name!r}; {nearest(name, known)}")
    return getattr(module, name)


def call(function: Callable[..., Any], spec: str, base: Path = Path(), failure: Failure = BadTarget, **settings: object) -> Any:
    """`function(**settings)`, with the folder of its file on `sys.path` meanwhile and its errors told in one sentence."""
    where = spec.rpartition(":")[0]
    path = base / where if where.endswith(".py") else None
    with _importable(path.parent if path else base), _told(path, spec, failure):
        return function(**settings)


def needs_arguments(function: Callable[..., Any]) -> bool:
    """Whether it cannot be called without arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _from_file(path: Path, failure: Failure) -> ModuleType:
    if not path.is_file():
        raise failure(f"{path}: no such file; paths are relative to the campaign file")
    private = f"_vauban_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(private, path)
    if spec is None or spec.loader is None:
        raise failure(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module  # dataclasses and pickles look a class's module up there
    try:
        with _importable(path.parent), _told(path, path.name, failure):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[private]
        raise
    return module


def _from_package(name: str, base: Path, failure: Failure) -> ModuleType:
    with _importable(base), _told(None, name, failure):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise failure(f'no module named {error.name!r}; install it, or name the file: "path/to/file.py:function"') from error
            raise


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


@contextmanager
def _told(path: Path | None, what: str, failure: Failure) -> Generator[None]:
    """Errors of the user's code as one sentence that says the line; Vauban's own pass as they are."""
    try:
        yield
    except VaubanError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(f"{_place(path, what, error)}: {type(error).__name__}: {_first_line(error)}") from error


def _place(path: Path | None, what: str, error: BaseException) -> str:
    """ "file.py:12", the last line of the user's own file that was running; otherwise the last line of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen") and f.filename != __file__]
    own = [f for f in frames if path is not None and Path(f.filename).resolve() == path.resolve()] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else what


def _first_line(error: BaseException) -> str:
    return (str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines() or ["(no message)"])[0]


def beside(value: object, base: Path) -> object:
    """A setting of something that a file names; where it names code of a file, "file.py:name", or is a list of such, the code is sought in `base`.

    >>> beside("steps.py:sharpened", Path("audits")), beside(("models.py:twin", 3), Path(".")), beside("identity", Path("audits"))
    ('audits/steps.py:sharpened', ('models.py:twin', 3), 'identity')
    """
    if isinstance(value, list | tuple):
        return tuple(beside(part, base) for part in cast("Sequence[object]", value))
    return str(base / value) if isinstance(value, str) and is_code(value) and value.rpartition(":")[0].endswith(".py") else value
