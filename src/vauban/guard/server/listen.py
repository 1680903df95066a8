"""How a port is held, and how uvicorn serves it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn

from vauban.errors import BadGuard
from vauban.guard.config import GuardFile
from vauban.guard.server.wire import Wire

BACKLOG = 256
"""Connections that may wait."""


def settings(app: Any, config: GuardFile, **others: Any) -> uvicorn.Config:
    """How uvicorn runs: nothing about it in any header, whoever is before it is told apart by us, and no log of requests with tokens in it."""
    return uvicorn.Config(
        app, http=partial(Wire, seconds=config.listen.body_timeout), ws="none", log_config=None, access_log=False, server_header=False,  # type: ignore[arg-type]
        proxy_headers=False, backlog=BACKLOG, timeout_keep_alive=5, timeout_graceful_shutdown=10, **others,
    )  # fmt: skip


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        BadGuard: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, port))
        held.listen(BACKLOG)  # whoever comes before everything is ready waits, and is not refused
    except OSError as error:
        raise BadGuard(f"{host}:{port}: cannot be listened at: {error.strerror or error}") from error
    held.set_inheritable(True)
    return held


def address(held: socket.socket) -> str:
    """The URL of a listener."""
    host, port = held.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def listening(app: Any, config: GuardFile, host: str = "127.0.0.1", port: int = 0) -> Generator[str]:
    """The URL of an application that is served in a thread of this process, for as long as it is needed."""
    held = bound(host, port)
    server = uvicorn.Server(settings(app, config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [held]}, name="listener", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield address(held)
    finally:
        server.should_exit = True
        thread.join()
        held.close()
