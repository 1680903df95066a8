"""`vauban serve`: the listener of devices in one process or several, the operators' listener beside it, and the work between requests."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from vauban.errors import VaubanError
from vauban.guard.assembly import assembled
from vauban.guard.config import GuardFile, read_guard
from vauban.guard.console.app import console_app
from vauban.guard.keeper import Keeper, Task, common, own
from vauban.guard.metrics import shared
from vauban.guard.server.app import create_app
from vauban.guard.server.listen import address, bound, settings

FILE = "VAUBAN_GUARD_FILE"
os.environ.setdefault(
    "ORT_DISABLE_TELEMETRY", "1"
)  # ONNX Runtime from 1.29 on tells its maker of models and machine unless it is told not to
log = logging.getLogger("vauban.guard")


def serve(path: Path, started: Callable[[str, str], None]) -> None:
    """Serve until told to stop by SIGINT or SIGTERM; what is being decided then is decided.

    Args:
        path: of the configuration.
        started: is told the addresses of both listeners, once everything was found in order and the ports are held.

    Raises:
        BadGuard: something is not as it must be; nothing was served.
        GuardDown: the database cannot be used.
    """
    config = read_guard(path)
    listen, console = bound(config.listen.host, config.listen.port), bound(config.console.host, config.console.port)
    with _counting(config.listen.workers):
        _served(path, config, listen, console, started)


def _served(path: Path, config: GuardFile, listen: socket.socket, console: socket.socket, started: Callable[[str, str], None]) -> None:
    guard = assembled(config)
    operators = uvicorn.Server(settings(console_app(guard), config))
    keeper = Keeper(guard, [*own(guard), *common(guard)])
    beside = threading.Thread(target=operators.run, kwargs={"sockets": [console]}, name="console", daemon=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn stops gracefully, and then raises them again
        signal.signal(number, lambda *_: None)
    try:
        keeper.start()
        beside.start()
        started(address(listen), address(console))
        if config.listen.workers > 1:
            several(path, config, listen)
        else:
            uvicorn.Server(settings(create_app(guard), config)).run(sockets=[listen])
    finally:
        operators.should_exit = True
        keeper.stop()
        beside.join(timeout=5)
        guard.stop()


@contextmanager
def _counting(workers: int) -> Generator[None]:
    """The folder that the counts of several processes go through, for as long as they serve."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="vauban-metrics-", ignore_cleanup_errors=True) as folder:
        shared(Path(folder))
        yield


def several(path: Path, config: GuardFile, listen: socket.socket) -> None:
    """Serve in several processes that share a socket; one that dies is replaced."""
    from uvicorn.supervisors import Multiprocess

    os.environ[FILE] = str(path.resolve())
    told = settings("vauban.guard.server.run:worker", config, factory=True, workers=config.listen.workers)
    Multiprocess(told, sockets=[listen]).run()


def worker() -> FastAPI:
    """The application of one of several processes."""
    try:
        guard = assembled(read_guard(Path(os.environ[FILE])))
    except VaubanError as error:
        print(f"vauban: {error}", file=sys.stderr)
        raise
    Keeper(guard, [*own(guard), Task("parent", 1.0, _end_with_parent)]).start()
    return create_app(guard)


def _end_with_parent() -> None:
    """Stop once the process that started this one is gone: nobody counts for the monitors or signs the ledger any more."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        log.critical("the process that started this one is gone; it stops too")
        os.kill(os.getpid(), signal.SIGTERM)
