"""A process that asks a guard's admission for as much as it can get; every answer is a line. `python hammer.py PLAN.json SEED`."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import Popen

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from phones import HOME, Phone

from vauban.errors import GuardDown
from vauban.guard.config import GuardFile
from vauban.guard.keys import read_keys
from vauban.guard.refusal import Refused
from vauban.guard.sessions import Admission, Opening, Sessions
from vauban.guard.storage import Store


@dataclass(frozen=True)
class Plan:
    """What a process does: sessions for devices, and attempts of them in an order of its own.

    Attributes:
        devices: private keys, as 64 hexadecimal digits.
        attempts: that each process makes, at most.
        start: when all begin, seconds since 1970.
        patience: that the database has for a lock.
    """

    url: str
    keys: str
    config: dict[str, object]
    devices: list[str]
    attempts: int
    start: float
    patience: float = 10.0


def main(plan: Plan, seed: int) -> None:
    store, config, chance = Store(plan.url, patience=plan.patience), GuardFile.model_validate(plan.config), random.Random(seed)
    keys = read_keys(Path(plan.keys))
    opener, admission = Sessions(store, keys, config), Admission(store, keys, config, f"node-{seed}")
    phones = [Phone(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key))) for key in plan.devices]
    size = config.session.attempts
    time.sleep(max(0.0, plan.start - time.time()))
    opened, phone = None, phones[0]
    for i in range(plan.attempts):
        try:
            if opened is None or i % size == 0:
                phone = chance.choice(phones)
                opened = opener.open("bank", Opening(device_key=phone.public, account=f"account-{seed % 3}"), None, "e")
            said = str(admission.admit(opened.token, phone.claim(opened.session_id), HOME).attempt)
        except Refused as error:
            said = error.code.word
        except GuardDown:
            said = "down"
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


@dataclass
class Running:
    """Processes, and the files that they write their answers to."""

    processes: list[Popen[bytes]]
    files: list[Path]

    def lines(self) -> list[str]:
        """All answers until now; one that is being written is none yet."""
        return [line for path in self.files for line in path.read_text().split("\n")[:-1]]

    def wait(self) -> list[str]:
        """All answers, once everybody is done."""
        for process in self.processes:
            process.wait()
        return self.lines()


@contextmanager
def hammered(plan: Plan, folder: Path, processes: int) -> Iterator[Running]:
    """So many processes at it; all gone afterwards."""
    here = Path(tempfile.mkdtemp(dir=folder))
    (here / "plan.json").write_text(json.dumps(asdict(plan)))
    files = [here / f"{i}.out" for i in range(processes)]
    running: list[Popen[bytes]] = []
    try:
        for i, path in enumerate(files):
            with path.open("wb") as file:
                running.append(Popen([sys.executable, __file__, str(here / "plan.json"), str(i)], stdout=file))
        yield Running(running, files)
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main(Plan(**json.loads(Path(sys.argv[1]).read_text())), int(sys.argv[2]))
