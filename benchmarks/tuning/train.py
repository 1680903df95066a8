"""`python -m benchmarks.tuning.train --data DIR`: train the tuning models and keep them, with held-out rows, in `.tuning/`; `load(name)`.

Attack schedules are tuned on these models and never on the ones that are reported. Held-out rows come from the training split of the data
sets, apart from the rows the model was trained on, so that no row that is reported was looked at either.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.tuning.nets import dense, digits_three, digits_two, pictures_plain, pictures_residual
from vauban.attacks import Attack, pgd
from vauban.defences.training import Hardened, Recipe, Tick, harden
from vauban.doors import Oracle
from vauban.target import Torch
from vauban.threat import Ball, Threat

FOLDER = Path(__file__).parents[2] / ".tuning"
Held = tuple[nn.Module, Tensor, Tensor, float]
Both = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Rows to train on, and held-out rows."""


@dataclass(frozen=True)
class Spec:
    """A tuning model: its network, its rows, and how it is trained."""

    net: Callable[[], nn.Module]
    rows: Callable[[Path], Both]
    eps: float
    inner: Attack
    recipe: Recipe


def digits(first: int, n: int, *classes: int) -> Callable[[Path], Both]:
    """n training rows of MNIST from `first` on, of some classes only (renumbered); the last 10,000 are held out."""

    def rows(data: Path) -> Both:
        x, y = _split(data / "mnist.npz")
        x = x[:, None]
        if not classes:
            return (x[first : first + n], y[first : first + n]), (x[50_000:52_600], y[50_000:52_600])
        place = torch.full((10,), -1)
        place[list(classes)] = torch.arange(len(classes))
        y = place[y]
        train, held = ((y >= 0) & part for part in _halves(len(y), first, 50_000))
        return (x[train][:n], y[train][:n]), (x[held][:2600], y[held][:2600])

    return rows


def pictures(data: Path) -> Both:
    """8,500 training rows of CIFAR-10, each also mirrored, and once more shifted by two pixels; the other 1,500 are held out."""
    x, y = _split(data / "cifar10_jpeg.npz")
    x = x.movedim(-1, 1).contiguous()
    return thrice(x[:8500], y[:8500]), (x[8500:], y[8500:])


def thrice(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Images as they are, mirrored, and once more shifted by two pixels, every other one of these mirrored."""
    padded = nn.functional.pad(torch.cat([x[::2], x[1::2].flip(3)]), (4, 0, 0, 4), mode="replicate")[:, :, 2:34, 2:34]
    return torch.cat([x, x.flip(3), padded]), torch.cat([y, y, y[::2], y[1::2]])


def cells(_data: Path) -> Both:
    """Breast cancer (569 rows, 30 features, 2 classes), every feature scaled to [0, 1]; every third row is held out."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    low, high = x.min(0), x.max(0)
    return _thirds(torch.from_numpy((x - low) / (high - low)).float(), torch.from_numpy(y).long())


def blobs(classes: int, seed: int) -> Callable[[Path], Both]:
    """3,000 made-up rows of 20 features, squeezed into [0, 1]."""

    def rows(_data: Path) -> Both:
        from sklearn.datasets import make_classification

        x, y = make_classification(3000, 20, n_informative=8, n_classes=classes, class_sep=2.0, flip_y=0.0, random_state=seed)
        return _thirds(torch.from_numpy(1 / (1 + np.exp(-x / 2))).float(), torch.from_numpy(y).long())

    return rows


def _split(file: Path) -> tuple[Tensor, Tensor]:
    held = np.load(file)
    return torch.from_numpy(held["x_train"]).float() / 255, torch.from_numpy(held["y_train"]).long()


def _halves(n: int, first: int, held: int) -> tuple[Tensor, Tensor]:
    index = torch.arange(n)
    return (index >= first) & (index < held), index >= held


def _thirds(x: Tensor, y: Tensor) -> Both:
    held = torch.arange(len(x)) % 3 == 0
    return (x[~held], y[~held]), (x[held], y[held])


PICTURE = {"precision": "bfloat16", "lr": 2e-3}
SPECS = {
    "mnist-a": Spec(digits_three, digits(0, 16_000), 0.3, pgd.bind(steps=7, step=0.3), Recipe(14, seed=11, precision="bfloat16")),
    "cifar-a": Spec(lambda: pictures_residual(16), pictures, 8 / 255, pgd.bind(steps=2, step=0.7), Recipe(14, seed=21, **PICTURE)),
    "mnist-b": Spec(lambda: digits_two(8, 20, 48), digits(16_000, 12_000), 0.2, pgd.bind(steps=5, step=0.4), Recipe(10, seed=12)),
    "mnist-c": Spec(lambda: digits_two(12, 24, 64), digits(28_000, 16_000), 0.3, pgd.bind(steps=1, step=1.0), Recipe(12, seed=13)),
    "mnist-d": Spec(lambda: dense(784, 96, 48, 10), digits(20_000, 20_000), 0.1, pgd.bind(steps=5, step=0.4), Recipe(12, seed=14)),
    "three-a": Spec(lambda: digits_two(8, 16, 32, 3), digits(0, 8_000, 3, 5, 8), 0.3, pgd.bind(steps=7, step=0.3), Recipe(12, seed=15)),
    "tab-a": Spec(lambda: dense(30, 32, 16, 2), cells, 0.1, pgd.bind(steps=10, step=0.25), Recipe(60, batch=32, seed=16)),
    "tab-b": Spec(lambda: dense(20, 48, 24, 2), blobs(2, 5), 0.05, pgd.bind(steps=10, step=0.25), Recipe(30, batch=64, seed=17)),
    "tab-c": Spec(lambda: dense(20, 48, 24, 3), blobs(3, 6), 0.05, pgd.bind(steps=10, step=0.25), Recipe(30, batch=64, seed=18)),
    "cifar-b": Spec(lambda: pictures_plain(16), pictures, 8 / 255, pgd.bind(steps=2, step=0.7), Recipe(10, seed=22, **PICTURE)),
}  # fmt: skip
"""Honestly trained, but for mnist-c, whose single-step training masks its gradients in part."""


def train(name: str, data: Path, folder: Path = FOLDER, say: Callable[[str], None] = print) -> dict[str, object]:
    """Train one model; write its weights, its held-out correct rows, and what was measured on them, which is also returned."""
    spec, began = SPECS[name], time.process_time()
    rows, (x, y) = spec.rows(data)
    torch.manual_seed(spec.recipe.seed)
    model = spec.net()
    threat = Threat(name, Ball(spec.eps))

    def tell(tick: Tick) -> None:
        if tick.measured is not None:
            e = tick.measured
            say(f"{name} {e.number}: clean {e.clean:.3f} fgsm {e.fgsm:.3f} pgd {e.pgd:.3f}, {time.process_time() - began:.0f} CPU s")

    done = harden(model, rows, threat, spec.inner, spec.recipe, progress=tell)
    seconds = time.process_time() - began
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(part) for part in x.split(200)]).argmax(1) == y
    folder.mkdir(exist_ok=True)
    save_file({k: t.contiguous() for k, t in model.state_dict().items()}, folder / f"{name}.safetensors")
    save_file({"x": x[right].contiguous(), "y": y[right].contiguous()}, folder / f"{name}.rows.safetensors")
    told = _told(name, done, float(right.double().mean()), int(right.sum()), seconds)
    told |= {f"pgd-40 of {n}": withstood(name, n, folder) for n in {min(n, int(right.sum())) for n in (200, 500)}}
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1))
    return told


def _told(name: str, done: Hardened, clean: float, correct: int, seconds: float) -> dict[str, object]:
    after = {k: v for k, v in asdict(done.after).items() if k in {"number", "clean", "fgsm", "pgd"}}
    return {"name": name, "eps": SPECS[name].eps, "clean": clean, "correct rows": correct, "CPU seconds": seconds, "kept": after,
            "stopped": done.stopped}  # fmt: skip


def load(name: str, folder: Path = FOLDER) -> Held:
    """A trained tuning model in evaluation mode with frozen parameters, its held-out correct rows x and y, and its radius (L-infinity).

    Raises:
        SystemExit: it is not trained yet, or there is no such model.
    """
    if name not in SPECS:
        raise SystemExit(f"no tuning model is named {name!r}; there are {', '.join(SPECS)}")
    if not (folder / f"{name}.rows.safetensors").is_file():
        raise SystemExit(f"{folder} has no {name!r} yet; run python -m benchmarks.tuning.train --data DIR --only {name}")
    model = SPECS[name].net()
    model.load_state_dict(load_file(folder / f"{name}.safetensors"))
    rows = load_file(folder / f"{name}.rows.safetensors")
    return model.eval().requires_grad_(False), rows["x"], rows["y"], SPECS[name].eps


def withstood(name: str, n: int, folder: Path = FOLDER, attack: Attack | None = None) -> float:
    """The share of the first n held-out correct rows that withstand an attack; by default PGD of 40 steps."""
    model, x, y, eps = load(name, folder)
    o = Oracle(Torch(model), x[:n], y[:n], Threat(name, Ball(eps)), seed=1)
    (attack or pgd.bind(steps=40, step=0.1))(o)
    return 1 - float(o.outcome.broken.double().mean())


def main() -> None:
    """Read the command line and train what it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.train", description="Train the models that schedules are tuned on.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder that holds mnist.npz and cifar10_jpeg.npz")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SPECS), metavar="A,B", help=", ".join(SPECS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.only:
        print(json.dumps(train(name, given.data, say=lambda line: print(line, flush=True))), flush=True)


if __name__ == "__main__":
    main()
