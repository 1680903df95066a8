"""A whole guard for tests: tiny models, keys, a configuration in a folder; served on a real port, or asked without HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from tiny_models import SIZE, tiny_ensemble

from vauban.cli.guard_init import new_key
from vauban.guard.assembly import assembled
from vauban.guard.client import Client
from vauban.guard.config import read_guard
from vauban.guard.keys import make_keys, write_publisher
from vauban.guard.server.app import create_app
from vauban.guard.server.listen import listening
from vauban.guard.service import Guard
from vauban.guard.storage import Store

FAST = """
[listen]
port = 0
slot = "0.05s"
[console]
port = 0
[burst]
count = 10000
"""


@dataclass
class Home:
    """A folder with a guard in it.

    Attributes:
        key: the backend's API key.
        operator: the operator's.
        publisher: signs models.
    """

    folder: Path
    key: str
    operator: str
    publisher: Ed25519PrivateKey = field(repr=False)

    @property
    def file(self) -> Path:
        return self.folder / "guard.toml"


def home(folder: Path, text: str = FAST, database: str = "sqlite:///guard.db") -> Home:
    """A new guard with an ensemble of three tiny models."""
    folder.mkdir(parents=True, exist_ok=True)
    make_keys(folder / "keys")
    publisher = Ed25519PrivateKey.generate()
    write_publisher(folder / "keys", publisher.public_key())
    (folder / "models").mkdir()
    tiny_ensemble(folder / "models", publisher)
    (key, key_hash), (operator, operator_hash) = new_key(), new_key()
    who = f'[[relying_party]]\nname = "bank"\nkey_sha256 = "{key_hash}"\n[[operator]]\nname = "ann"\nrole = "approver"\nkey_sha256 = "{operator_hash}"\n'
    (folder / "guard.toml").write_text(f'database = "{database}"\n{text}\n{who}', encoding="utf-8")
    return Home(folder, key, operator, publisher)


@contextmanager
def opened(at: Home, store: Store | None = None) -> Iterator[Guard]:
    """The guard in a folder, without HTTP."""
    guard = assembled(read_guard(at.file), store)
    try:
        yield guard
    finally:
        guard.stop()


@contextmanager
def served(at: Home, store: Store | None = None) -> Iterator[tuple[Guard, Client]]:
    """The guard in a folder on a real port, and a client with its backend's key."""
    with opened(at, store) as guard, listening(create_app(guard), guard.config) as url:
        client = Client(url, at.key)
        try:
            yield guard, client
        finally:
            client.http.close()


def image(brightness: float = 0.8, kind: str = "PNG", noise: float = 0.05, seed: int | None = None, size: tuple[int, int] = SIZE) -> bytes:
    """A picture as a device sends it: bright ones are live to the tiny models, dark ones are not. Never the same pixels twice without a seed."""
    dice = np.random.default_rng(seed)
    levels: Any = np.clip(brightness + dice.uniform(-noise, noise, (*size, 3)), 0, 1) * 255
    written = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(written, kind)
    return written.getvalue()
