"""Real servers for the guard's tests: PostgreSQL and Redis, started on free ports, gone with the tests."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import NEEDED, NotInstalled, free_port, new_database, postgres, until

from vauban.guard.keys import Keys, make_keys
from vauban.guard.storage import Store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[tuple[Path, int, Path]]:
    """The folder of PostgreSQL's programs, the port and the data folder of a server that the tests started."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres())
        except NotInstalled as error:
            pytest.skip(str(error))
        yield server


MADE = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: tuple[Path, int, Path]) -> str:
    """A new, empty database."""
    return new_database(postgres_server, f"guard{next(MADE)}")


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
