"""Training that survives a kill: after every epoch one folder holds all that the next one needs. Nothing in it is pickled.

The weights, the optimiser's state and the best weights so far go into safetensors files of their own names; `progress.json`, replaced last
and in one piece, says which of them count. Whatever a killed run left half written is not named there, and swept away by the next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vauban.defences.training.result import Epoch
from vauban.errors import BadRun

FORMAT = 1
PROGRESS, WEIGHTS = "progress.json", "weights.safetensors"
State = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        settings: a fingerprint of everything but the model that decides the outcome.
        model: a fingerprint of the model as it came.
        history: what was measured, from epoch 0.
        best: the number of the best epoch.
        precision: what the epochs were trained in.
        stopped: why training ended early.
        result: once it is done, a fingerprint of the model with the kept weights.
    """

    settings: str
    model: str
    history: tuple[Epoch, ...]
    best: int
    precision: str
    stopped: str = ""
    result: str = ""


class Checkpoint:
    """The folder of one training.

    Raises (all methods):
        BadRun: it cannot be written or read, or belongs to another training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def weights(self) -> Path:
        """Where the kept weights lie once training is done."""
        return self.folder / WEIGHTS

    def read(self, settings: str, model: str) -> Progress | None:
        """How far this very training is; None where it has not begun. A model that has the resulting weights already is also its own."""
        path = self.folder / PROGRESS
        if not path.exists():
            return None
        progress = self._progress(path)
        if progress.settings != settings or model not in {progress.model, progress.result}:
            what = "other settings, another threat or other data" if progress.settings != settings else "another model or other weights"
            raise BadRun(f"{self.folder} holds a training of {what}; go on with what it was begun with, or begin afresh (--fresh)")
        return progress

    def _progress(self, path: Path) -> Progress:
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if raw.pop("format", None) != FORMAT:
                raise BadRun(f"{path} was written by another version of Vauban; begin afresh (--fresh)")
            history = tuple(Epoch(**e) for e in cast("list[dict[str, Any]]", raw.pop("history")))
            return Progress(history=history, **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, BadRun):
                raise
            raise BadRun(f"{path} is damaged ({type(error).__name__}); begin afresh (--fresh)") from error

    def state(self, progress: Progress) -> State:
        """Weights and optimiser as the last epoch left them."""
        return self._load(_state_name(len(progress.history) - 1))

    def best(self, progress: Progress) -> State:
        """The weights of the best epoch."""
        return self._load(_best_name(progress.best))

    def _load(self, name: str) -> State:
        try:
            return load_file(self.folder / name)
        except (OSError, SafetensorError) as error:
            raise BadRun(f"{self.folder / name} is missing or damaged; begin afresh (--fresh)") from error

    def result(self) -> State:
        """The kept weights of a training that is done."""
        return self._load(WEIGHTS)

    def write(self, progress: Progress, state: State, best: State) -> None:
        """Keep an epoch: its state, and the best weights where they are not kept already."""
        self._save(_state_name(len(progress.history) - 1), state)
        if not (self.folder / _best_name(progress.best)).exists():
            self._save(_best_name(progress.best), best)
        self._commit(progress)
        self.sweep(progress)

    def finish(self, progress: Progress, kept: State) -> None:
        """Keep the result, and nothing else."""
        self._save(WEIGHTS, kept)
        self._commit(progress)
        self._remove_but(WEIGHTS)

    def sweep(self, progress: Progress) -> None:
        """Remove what a killed run left and `progress` does not name."""
        self._remove_but(_state_name(len(progress.history) - 1), _best_name(progress.best))

    def clear(self) -> None:
        """Make the folder, and forget the training in it; other files are left alone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / PROGRESS).unlink(missing_ok=True)
        except OSError as error:
            raise BadRun(f"{self.folder}: cannot be written: {error.strerror or error}") from error
        self._remove_but()

    def _save(self, name: str, tensors: State) -> None:
        self._put(name, lambda path: save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, path))

    def _commit(self, progress: Progress) -> None:
        text = json.dumps({"format": FORMAT, **asdict(progress)}, indent=1, allow_nan=False)
        self._put(PROGRESS, lambda path: path.write_text(text, encoding="utf-8"))

    def _put(self, name: str, write: Callable[[Path], object]) -> None:
        """Write beside the name and replace it in one step, so that the name never stands for half a file."""
        target, beside = self.folder / name, self.folder / f".{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(beside)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(target)
        except (OSError, SafetensorError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise BadRun(f"{target}: cannot be written: {why}") from error

    def _remove_but(self, *kept: str) -> None:
        for pattern in ("epoch-*.safetensors", "best-*.safetensors", ".*.part", WEIGHTS):
            for path in self.folder.glob(pattern):
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _state_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.safetensors"


def _best_name(epoch: int) -> str:
    return f"best-{epoch:04d}.safetensors"
