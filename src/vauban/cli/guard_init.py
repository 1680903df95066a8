"""`vauban guard init` and `vauban guard key`: a configuration with everything in it, secrets, and the first keys of a backend and an operator."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from vauban.cli.output import Output

FILE = """# A guard for a security-critical classifier. What is not written here is the banking recommendation.
name = "guard"
database = "sqlite:///guard.db"          # on several machines: "postgresql+psycopg://guard@db/guard"
keys = "keys"

[listen]                                 # devices and backends
host = "127.0.0.1"
port = 8080
workers = 1
trusted_proxies = []                     # networks whose X-Forwarded-For is believed: ["10.0.0.0/8"]

[console]                                # operators, /metrics, /healthz, /readyz
host = "127.0.0.1"
port = 8081

[session]
attempts = 3
ttl = "10m"
mode = "two-phase"                       # "direct": the device is told accept or reject
device = "signed"                        # "named": the backend vouches for a device id, and a limit per device is only as good as that

[limits]                                 # in any window of that length, wherever it begins
device = { count = 10, window = "24h" }
account = { count = 20, window = "24h" }
network = { count = 60, window = "1h" }

[models]
folder = "models"
vote = "unanimous"
days = 90

[watch]
similarity = "monitor"                   # "enforce" needs `vauban guard calibrate`
anomaly = "monitor"

[[relying_party]]
name = "backend"
key_sha256 = "{backend}"

[[operator]]
name = "operator"
role = "approver"
key_sha256 = "{operator}"
"""


def new_key() -> tuple[str, str]:
    """A key of 256 bits and its SHA-256, which is all that a configuration holds."""
    key = secrets.token_urlsafe(32)
    return key, sha256(key.encode()).hexdigest()


def init(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where guard.toml and the keys go.")] = Path(),
) -> None:
    """Write guard.toml, make the secrets, and print the keys of the first backend and the first operator, once.

    \b
    vauban guard init service
    vauban guard models sign liveness.onnx ...
    vauban serve service/guard.toml
    """
    from vauban.errors import BadGuard
    from vauban.guard.keys import make_keys, raw

    said, file = Output.of(ctx), folder / "guard.toml"
    if file.exists():
        raise BadGuard(f"{file}: exists already; it is not written over")
    made = make_keys(folder / "keys")
    (backend, backend_hash), (operator, operator_hash) = new_key(), new_key()
    file.write_text(FILE.replace("{backend}", backend_hash).replace("{operator}", operator_hash), encoding="utf-8")
    (folder / "models").mkdir(exist_ok=True)

    said.write({"file": str(file), "backend": backend, "operator": operator, "receipts": raw(made.public).hex()})
    said.say(f"{file} and {folder / 'keys'} are written. These keys are shown once; the file holds their hashes only:")
    said.say(f"the backend (relying party):     {backend}\nthe operator, at the console:    {operator}")
    said.say(f"Receipts and checkpoints verify with the public key {raw(made.public).hex()}")


def key(ctx: typer.Context) -> None:
    """A new key for a [[relying_party]] or an [[operator]], and the hash that goes into guard.toml."""
    said = Output.of(ctx)
    made, digest = new_key()
    said.write({"key": made, "key_sha256": digest})
    said.say(f"key:        {made}\nkey_sha256: {digest}")


def rotate(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The guard's configuration.")] = Path("guard.toml"),
) -> None:
    """Make a new key for client tokens: it signs from the next start on, and tokens of the one before it stay good.

    \b
    vauban guard rotate-token-key guard.toml
    """
    from vauban.guard.config import read_guard
    from vauban.guard.keys import rotate_token_key

    config = read_guard(file)
    number = rotate_token_key(config.beside(config.keys))
    Output.of(ctx).write({"key": number})
    Output.of(ctx).say(
        f"key {number} signs tokens once every process of the guard was started again; the key before it still verifies them"
    )
