"""Starting real servers for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = "apt-get install postgresql redis-server"


class NotInstalled(Exception):
    """A server's programs are not on this machine."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def as_user(*command: str) -> list[str]:
    """PostgreSQL does not run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


def until(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until something is ready."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.05)
    raise TimeoutError(f"{what} did not start in {seconds} s")


def start(binaries: Path, data: Path, port: int) -> None:
    """Start the server that has its data there, and wait for it."""
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c max_connections=200 -c fsync=off"  # what is killed here is no machine
    command = as_user(str(binaries / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(data / "log"), "-w", "start")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def postgres() -> Iterator[tuple[Path, int, Path]]:
    """The folder of PostgreSQL's programs, the port and the data folder of a server of our own, gone afterwards.

    Raises:
        NotInstalled: PostgreSQL is not.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        raise NotInstalled(f"PostgreSQL is not installed: {NEEDED}")
    # not in pytest's own folder, which every pytest that begins closes to other users
    binaries, folder, port = programs[-1], Path(tempfile.mkdtemp(prefix="vauban-postgres-")), free_port()
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    subprocess.run(as_user(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "vauban", "-N"), check=True, capture_output=True)
    start(binaries, data, port)
    try:
        yield binaries, port, data
    finally:
        subprocess.run(as_user(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"), check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: tuple[Path, int, Path], name: str) -> str:
    """The URL of a new, empty database."""
    binaries, port, _ = server
    subprocess.run([str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "vauban", name], check=True, capture_output=True)
    return f"postgresql+psycopg://vauban@127.0.0.1:{port}/{name}"
