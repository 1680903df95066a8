"""`python -m benchmarks.guard_races`: many processes race for the places of devices, through the real HTTP interface of running guards.

Once one node of eight processes on SQLite, once two nodes of four on a PostgreSQL that is started for it. Clients open sessions for devices that all
of them know, and hand in attempts as fast as they can. In the end every device must have been let in exactly as often as its limit says, every
attempt that was let in must be in the ledger, and `vauban guard verify-ledger` must find every chain whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from benchmarks.__main__ import measured_on
from benchmarks.guard_cost import devices_of, jpeg, prepared, running
from vauban.errors import GuardDown
from vauban.guard.client import Client, Device
from vauban.guard.ledger.chain import records
from vauban.guard.limits.tables import attempts
from vauban.guard.storage import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from servers import new_database, postgres

LIMIT, SESSION, CALLERS = 10, 5, 8
CONFIG = """
database = "{database}"
[listen]
port = 0
slot = "0.01s"
workers = {workers}
[console]
port = 0
[burst]
count = 100000
[session]
attempts = 5
[lockout]
fails = 1000000
[limits]
network = {{ count = 100000000, window = "1h" }}
party = {{ count = 100000000, window = "24h" }}
everyone = {{ count = 100000000, window = "24h" }}
"""


@dataclass(frozen=True)
class Race:
    """What came of one: requests by their status, devices, places in all, attempts in the database and the most of one device, decisions in the
    ledger, what the ledger's verification says, and seconds."""

    setting: str
    attempts: int
    answers: dict[str, int]
    devices: int
    places: int
    admitted: int
    most: int
    decided: int
    ledger: int
    verified: bool
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether every place was taken once, no more and no fewer, and every decision is written down."""
        return self.admitted == self.places and self.most == LIMIT and self.ledger == self.decided and self.verified


def calls(urls: list[str], key: str, devices: list[str], share: int, seed: int) -> Counter[str]:
    """One caller: so many attempts, of devices in an order of its own; answers by status."""
    chance, found, body = random.Random(seed), Counter[str](), jpeg(seed)
    clients = [Client(url, key) for url in urls]
    # the guard lets a thread wait half a second for its turn at SQLite and then says that it is unavailable; a caller goes on
    while share > 0:
        device = Device(key=Ed25519PrivateKey.from_private_bytes(bytes.fromhex(chance.choice(devices))))
        try:
            session = chance.choice(clients).open(device)
        except GuardDown:
            found["no session"] += 1
            continue
        for _ in range(min(SESSION, share)):
            found[str(chance.choice(clients).attempt(session, device, body).status_code)] += 1
            share -= 1
    return found


@contextmanager
def nodes(folder: Path, count: int) -> Iterator[list[str]]:
    """Guards that share a configuration; their addresses."""
    with ExitStack() as stack:
        urls: list[str] = []
        for _ in range(count):
            process = stack.enter_context(running("-m", "vauban.cli", "--json", "serve", str(folder / "guard.toml")))
            urls.append(devices_of(process))
        time.sleep(5)  # the last of their processes are starting
        yield urls


def race(setting: str, database: str, count: int, workers: int, requests: int) -> Race:
    """Run one."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        key, _ = prepared(folder)
        party = (folder / "guard.toml").read_text(encoding="utf-8").partition("[[relying_party]]")[2]
        url = database or f"sqlite:///{folder / 'guard.db'}"
        text = CONFIG.format(database=url, workers=workers)
        (folder / "guard.toml").write_text(f"{text}\n[[relying_party]]{party}", encoding="utf-8")
        devices = [random.Random(i).randbytes(32).hex() for i in range(max(requests // (6 * LIMIT), 1))]
        began = time.monotonic()
        with nodes(folder, count) as urls, ProcessPoolExecutor(CALLERS, get_context("spawn")) as pool:
            told = [pool.submit(calls, urls, key, devices, requests // CALLERS, seed) for seed in range(CALLERS)]
            answers = sum((t.result() for t in told), Counter[str]())
        seconds = time.monotonic() - began
        store = Store(url)
        with store.read() as tx:
            per = tx.run(select(func.count()).select_from(attempts).group_by(attempts.c.device)).scalars().all()
            decided = tx.run(select(func.count()).where(attempts.c.state == "decided")).scalar_one()
            written = tx.run(select(func.count()).where(records.c.kind == "decision")).scalar_one()
        store.close()
        command = [sys.executable, "-m", "vauban.cli", "guard", "verify-ledger", str(folder / "guard.toml")]
        verified = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    return Race(
        setting, sum(n for word, n in answers.items() if word.isdigit()), dict(answers), len(devices), LIMIT * len(devices), sum(per), max(per),
        decided, written, verified, seconds,
    )  # fmt: skip


def write(found: list[Race], out: Path | None) -> None:
    """Print the table, and keep it where that is wanted."""
    heads = ("", "attempts", "devices", "places", "let in", "most of one device", "decided", "in the ledger", "ledger verified", "exact")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in found:
        numbers = (r.attempts, r.devices, r.places, r.admitted, r.most, r.decided, r.ledger)
        lines.append(f"| {r.setting} | {' | '.join(map(str, numbers))} | {'yes' if r.verified else 'NO'} | {'yes' if r.exact else 'NO'} |")
    lines += ["", *(f"Answers of {r.setting}: {', '.join(f'{n} x {w}' for w, n in sorted(r.answers.items()))}." for r in found)]
    print("\n".join(lines))
    if out:
        head = ["# Races for the places of devices", "", measured_on(), "", f"{CALLERS} callers at once; {LIMIT} places a device.", ""]
        out.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
        out.with_suffix(".jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in found), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--out", type=Path, default=None)
    said = parser.parse_args()
    found: list[Race] = []
    if said.only != "postgresql":
        found.append(race("one node of eight processes, SQLite", "", 1, 8, said.requests))
        write(found, said.out)
    if said.only != "sqlite":
        with postgres() as server:
            found.append(race("two nodes of four processes, PostgreSQL", new_database(server, "races"), 2, 4, said.requests))
            write(found, said.out)
    return 0 if all(r.exact for r in found) else 1


if __name__ == "__main__":
    sys.exit(main())
