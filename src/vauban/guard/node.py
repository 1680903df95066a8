"""The name of a process among those of a guard: it stays the same over restarts, and no two that run at once share one."""

from __future__ import annotations

import fcntl
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from vauban.errors import BadGuard

MOST = 256
"""Processes of one guard on one machine."""


@dataclass(frozen=True)
class Node:
    """A name that is held.

    Attributes:
        name: "machine/0", "machine/1", ...
        held: the locked file; the name is free again when this process ends, however it ends.
    """

    name: str
    held: IO[bytes] = field(repr=False)


def take(folder: Path) -> Node:
    """The first name that no running process has.

    Args:
        folder: for the locks; each guard on a machine has its own.

    Raises:
        BadGuard: the folder cannot be written, or all names are taken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(MOST):
            held = (folder / f"{number}.lock").open("ab")
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.close()
                continue
            return Node(f"{socket.gethostname()[:40]}/{number}", held)
    except OSError as error:
        raise BadGuard(f"{folder}: cannot be written: {error.strerror or error}") from error
    raise BadGuard(f"{folder}: {MOST} processes of this guard run already")
