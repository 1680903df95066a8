"""`python -m benchmarks.siege FOLDER`: our own attacks against the guard, through its real HTTP interface: what each control costs an attacker.

FOLDER is what `python examples/guard/demo.py FOLDER` made: three hardened networks, signed, and synthetic faces. Each attack wants some spoofs to be
taken for live, knows other live faces to start from, and meets in turn

* one network, nothing before it: its scores for who needs them, else accept or reject;
* accept or reject of three networks that must agree, as often as it likes;
* the guard's limits, with a few devices, each paced so that hurry does not lock it, for at most as many days as an ensemble serves;
* the same, and near-duplicates across devices rejected ("enforce", calibrated on other rows).

"extraction" asks about faces of its own and variations of them, trains a network on the answers, and hands in what fools that one. Days pass in the
guard's database, whose clock is moved; every attempt is one over HTTP.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from benchmarks.__main__ import measured_on
from vauban.attacks import ATTACKS
from vauban.cli.guard_init import new_key
from vauban.doors import Oracle
from vauban.errors import NotGranted
from vauban.guard.assembly import assembled
from vauban.guard.client import Client
from vauban.guard.config import read_guard
from vauban.guard.keeper import Keeper, common
from vauban.guard.server.app import create_app
from vauban.guard.server.listen import listening
from vauban.guard.storage import Store
from vauban.noise import RowNoise
from vauban.target import Surrogate, Target, Torch
from vauban.target.guarded import DAY, Effort, Guarded
from vauban.target.http import Authorisation
from vauban.target.onnx import Onnx
from vauban.target.surrogates import Own
from vauban.threat import Access, Ball, Goal, Threat

ROWS, QUESTIONS, DEVICES, DAYS = 10, 1000, 20, 90
EXTRACTION, RESERVED = "extraction", 2
ATTACK_OF = {EXTRACTION: "transfer"}
FILES = ("plain.onnx", "mobile.onnx", "mixer.onnx")
START = 1_790_000_000.0
L2, LINF = Ball(4.0, "l2"), Ball("16/255", "linf")
ATTACKS_OF = {
    "square": (LINF, Access.SCORE),
    "transfer": (LINF, Access.LABEL),
    "rays": (LINF, Access.LABEL),
    "boundary": (L2, Access.LABEL),
    "hop-skip-jump": (L2, Access.LABEL),
    "oars-hop-skip-jump": (L2, Access.LABEL),
    "surfree": (L2, Access.LABEL),
    EXTRACTION: (LINF, Access.LABEL),
}
WIDE = """
[session]
attempts = 5
mode = "direct"
[listen]
slot = "0.001s"
[burst]
count = 100000
[limits]
network = { count = 1000000, window = "1h" }
"""
OFF = """
[watch]
replay = "off"
similarity = "off"
anomaly = "off"
"""
ENFORCED = """
[watch]
similarity = "enforce"
calibration = "watch.json"
"""


@dataclass(frozen=True)
class Siege:
    """One attack before one wall: how many of the rows fell, after how many questions (median of the fallen), how near to the spoofs the nearest
    examples of all rows are (median; none where an attack seeks no nearer ones), what the guard let in and refused,
    what was not asked because no device was free, the device-days that were spent, and for a copy how often it says what three that agree say."""

    wall: str
    attack: str
    rows: int
    fell: int
    questions: float
    distance: float
    let_in: int
    refused: int
    starved: int
    days: float
    device_days: float
    fidelity: float = math.nan

    def line(self) -> list[str]:
        """For a table."""
        each = "-" if not self.fell else f"{self.questions:.0f}"
        cost = "-" if not self.device_days else f"{self.device_days:.0f} ({DEVICES} x {self.days:.0f} days)"
        broken = "-" if not self.fell or not self.device_days else f"{self.device_days / self.fell:.0f}"
        attack = self.attack if math.isnan(self.fidelity) else f"{self.attack} ({self.fidelity:.0%} the same)"
        return [
            self.wall,
            attack,
            f"{self.fell} of {self.rows}",
            each,
            "-" if math.isinf(self.distance) else f"{self.distance:.2f}",
            str(self.let_in or "-"),
            cost,
            broken,
        ]


class Moved:
    """The guard's clock and the attacker's, which waiting moves."""

    def __init__(self, days: float) -> None:
        self.now, self.end = START, START + days * DAY

    def __call__(self, *_: object) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        """Let time pass, as long as there is some."""
        if self.now + seconds > self.end:
            return False
        self.now += seconds
        return True


class Agreeing(Target):
    """Networks that must agree, without a guard: 0 accepted, 1 rejected."""

    access = Access.LABEL
    outputs = "labels"
    classes = 2

    def __init__(self, members: list[Target]) -> None:
        self.members, self.name, self.asked = members, f"{len(members)} that agree", 0

    def scores(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        return torch.nn.functional.one_hot(self.labels(x), 2).double()

    def labels(self, x: Tensor, draw: RowNoise | None = None) -> Tensor:
        self.asked += len(x)
        return (torch.stack([m.labels(x) for m in self.members]) != 0).any(0).long()


def rows_of(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Faces, float32 (n, 3, 32, 32), and 0 for live, 1 for spoofs."""
    held = np.load(folder / f"{split}.npz")
    names = held["classes"].tolist()
    return torch.from_numpy(held["x"]).float() / 255, torch.from_numpy((held["y"] != names.index("live")).astype(np.int64))


@contextmanager
def guarded(folder: Path, extra: str) -> Iterator[Guarded]:
    """The guard with the demonstration's models and a clock that can be moved."""
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        for part in ("keys", "models"):
            shutil.copytree(folder / "service" / part, home / part)
        shutil.copy(folder / "service" / "watch.json", home)
        key, digest = new_key()
        (home / "guard.toml").write_text(f'{WIDE}\n{extra}\n[[relying_party]]\nname = "bank"\nkey_sha256 = "{digest}"\n', encoding="utf-8")
        clock = Moved(DAYS)
        store = Store(f"sqlite:///{home / 'guard.db'}", clock=clock, steady=None)
        guard = assembled(read_guard(home / "guard.toml"), store)
        keeper = Keeper(guard, common(guard))
        keeper.start()
        try:
            with listening(create_app(guard), guard.config) as url:
                allowed = Authorisation("our own guard, on this machine, for this measurement", ("127.0.0.1",))
                yield Guarded(Client(url, key), allowed, devices=DEVICES, wait=clock.wait, clock=clock, direct=True)
        finally:
            keeper.stop()
            guard.stop()


def siege(wall: str, name: str, target: Target, folder: Path, surrogate: Surrogate) -> Siege:
    """One attack on one target."""
    ball, access = ATTACKS_OF[name]
    x, y = rows_of(folder, "test")
    theirs, kinds = rows_of(folder, "calibration")
    spoofs = x[y == 1][:ROWS]
    threat = Threat(wall, ball, goal=Goal(wanted=0, sources=(1,)), access=min(access, target.access), queries=QUESTIONS)
    fidelity = math.nan
    if name == EXTRACTION:
        kept = target.hands[-RESERVED:] if isinstance(target, Guarded) else []
        if isinstance(target, Guarded):  # some devices are kept to hand in what comes of it
            target.hands = target.hands[:-RESERVED]
        copy = copied(target, theirs, QUESTIONS * ROWS)
        if isinstance(target, Guarded):
            target.hands = kept
        fidelity = float((copy.labels(x) == Agreeing([opened(folder / file) for file in FILES]).labels(x)).double().mean())
        surrogate = Own(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        o = Oracle(
            target, spoofs, torch.ones(len(spoofs), dtype=torch.int64), threat, seed=0, samples=(theirs[kinds == 0][:50], kinds[kinds == 0][:50]),
            surrogate=surrogate if name in ("transfer", EXTRACTION) else None,
        )  # fmt: skip
        ATTACKS[ATTACK_OF.get(name, name)](o)
    found, effort = o.outcome, target.effort if isinstance(target, Guarded) else Effort()
    fell = found.broken & found.eligible
    first = found.first[fell].double()
    near = float(found.distance[found.eligible].median()) if ATTACKS[ATTACK_OF.get(name, name)].facts.minimal else math.inf
    return Siege(
        wall, name, int(found.eligible.sum()), int(fell.sum()), float(first.median()) if len(first) else math.nan, near, effort.attempts,
        effort.refused, effort.starved, effort.days, DEVICES * effort.days, fidelity,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attack", action="append", choices=list(ATTACKS_OF))
    parser.add_argument("--out", type=Path, help="where the table goes, as Markdown; the lines go beside it as JSON lines")
    said = parser.parse_args()
    torch.set_num_threads(1)
    folder, found = said.folder.resolve(), list[Siege]()
    calibrated(folder)
    for name in said.attack or ATTACKS_OF:
        for made in walls(name, folder):
            found.append(made)
            print(" | ".join(made.line()), flush=True)
            if said.out:
                write(found, said.out)


def walls(name: str, folder: Path) -> Iterator[Siege]:
    """One attack before every wall that shows it enough."""
    members = [opened(folder / file) for file in FILES]
    surrogate = trained(folder)
    if ATTACKS_OF[name][1] >= Access.SCORE:
        yield siege("one model's scores", name, members[0], folder, surrogate)
        with guarded(folder, OFF) as target:
            try:
                yield siege("limits", name, target, folder, surrogate)
            except NotGranted:
                yield Siege("the guard: not granted, no scores", name, 0, 0, math.nan, math.inf, 0, 0, 0, 0.0, 0.0)
        return
    yield siege("one model, no limit", name, Agreeing(members[:1]), folder, surrogate)
    yield siege("three that agree, no limit", name, Agreeing(members), folder, surrogate)
    for wall, extra in (("limits", OFF), ("limits and similarity", ENFORCED)):
        with guarded(folder, extra) as target:
            yield siege(wall, name, target, folder, surrogate)


def opened(path: Path) -> Target:
    """A model of the guard, as a file that nobody outside has."""
    return Onnx(path, outputs="logits", name=path.stem)


def copied(target: Target, own: Tensor, questions: int) -> Target:
    """What can be learnt from answers: a network of the kind of the first, trained on what the target said to the attacker's own faces and to blends
    of two of them (Orekondy et al. 2019, arXiv:1812.02766, with faces for the transfer set); questions that got no answer teach nothing."""
    import models

    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randint(len(own), (questions,), generator=draw) for _ in range(2))
    share = torch.rand(questions, 1, 1, 1, generator=draw)
    share[: len(own)] = 1
    first[: len(own)] = torch.arange(len(own))[:questions]
    x = target.wire(share * own[first] + (1 - share) * own[second])
    y = torch.cat([target.labels(part) for part in x.split(50)])
    x, y = x[y >= 0], y[y >= 0]
    torch.manual_seed(0)
    network = models.plain()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(20):
        for part in torch.randperm(len(x), generator=draw).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[part]), y[part]).backward()
            optimiser.step()
    return Torch(network.eval(), outputs="logits", name="copied")


def trained(folder: Path) -> Surrogate:
    """A network of the attacker's own: the plain one as it was before it was hardened."""
    sys.path.insert(0, str(folder))
    import models
    from safetensors.torch import load_file

    network = models.plain()
    network.load_state_dict(load_file(folder / "plain.safetensors"))
    return Own(Torch(network.eval(), outputs="logits", name="at home"))


def calibrated(folder: Path) -> None:
    """The watch's calibration, on the calibration rows, once."""
    if not (folder / "service" / "watch.json").exists():
        command = [
            "guard",
            "calibrate",
            "service/guard.toml",
            "--data",
            "calibration.npz",
            "--everything",
            "--history",
            "1000",
            "--out",
            "service/watch.json",
        ]
        subprocess.run([sys.executable, "-m", "vauban.cli", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def write(found: list[Siege], out: Path) -> None:
    """Keep what was found so far."""
    heads = (
        "before",
        "attack",
        "spoofs that passed",
        "questions (median)",
        "nearest (median)",
        "attempts let in",
        "spent",
        "device-days each",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(made.line())} |" for made in found)]
    told = f"{ROWS} spoofs, {QUESTIONS} questions each at most, {DEVICES} devices, {DAYS} days; L-infinity 16/255 or L2 4.0 of 32 x 32 x 3."
    out.write_text("\n".join(["# What the guard costs an attacker", "", measured_on(), "", told, "", *lines, ""]), encoding="utf-8")
    plain = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(made).items()} for made in found]
    out.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in plain), encoding="utf-8")


if __name__ == "__main__":
    main()
