"""How a port is held, and how uvicorn serves it."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from vauban.errors import BadGuard
from vauban.guard.config import GuardFile

BACKLOG, REQUESTS = 256, 512
"""Connections that may wait, and that may be open, in one process."""


def settings(app: Any, config: GuardFile, **others: Any) -> uvicorn.Config:
    """How uvicorn runs: nothing about it in any header, whoever is before it is told apart by us, and no log of requests with tokens in it."""
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, limit_concurrency=REQUESTS, backlog=BACKLOG,
        timeout_keep_alive=5, timeout_graceful_shutdown=10, h11_max_incomplete_event_size=16384, **others,
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
    except OSError as error:
        raise BadGuard(f"{host}:{port}: cannot be listened at: {error.strerror or error}") from error
    held.set_inheritable(True)
    return held


def address(held: socket.socket) -> str:
    """The URL of a listener."""
    host, port = held.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
