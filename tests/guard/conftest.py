"""Real servers for the guard's tests: PostgreSQL and Redis, started on free ports, gone with the tests."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vauban.guard.keys import Keys, make_keys
from vauban.guard.storage import Store

NEEDED = "apt-get install postgresql redis-server"


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


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, Path]]:
    """The folder of PostgreSQL's programs, the port and the data folder of a server that the tests started."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip(f"PostgreSQL is not installed: {NEEDED}")
    binaries, folder, port = programs[-1], tmp_path_factory.mktemp("postgres"), free_port()
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)
    data = folder / "data"
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    subprocess.run(as_user(str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "vauban", "-N"), check=True, capture_output=True)
    start(binaries, data, port)
    yield binaries, port, data
    subprocess.run(as_user(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"), check=False, capture_output=True)


def start(binaries: Path, data: Path, port: int) -> None:
    """Start the server that has its data there, and wait for it."""
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c max_connections=200 -c fsync=off"  # what is killed here is no machine
    command = as_user(str(binaries / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(data / "log"), "-w", "start")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


MADE = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: tuple[Path, int, Path]) -> str:
    """A new, empty database."""
    binaries, port, _ = postgres_server
    name = f"guard{next(MADE)}"
    subprocess.run([str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "vauban", name], check=True, capture_output=True)
    return f"postgresql+psycopg://vauban@127.0.0.1:{port}/{name}"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that the tests started."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip(f"Redis is not installed: {NEEDED}")
    port = free_port()
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen([program, "--port", str(port), "--dir", str(folder), "--save", ""], stdout=subprocess.DEVNULL)

    def ready() -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    until(ready, "Redis")
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new, empty database in a file."""
    return f"sqlite:///{tmp_path / 'guard.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A new database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store on a new database of each kind, with its tables."""
    made = Store(url)
    made.create()
    yield made
    made.close()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """New secrets."""
    return make_keys(tmp_path / "keys")
