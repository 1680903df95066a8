"""Several trainings that differ in their seed: how far their results lie apart, and the best of them by held-out rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vauban.defences.training.checkpoint import FORMAT
from vauban.defences.training.gates import TrainingStopped
from vauban.defences.training.result import Epoch, Hardened, Run
from vauban.defences.training.trainee import Trainee
from vauban.errors import BadRun

APART = 0.05
"""Seeds whose accuracies under PGD span more than this disagree."""
DONE = "seeds.json"


@dataclass(frozen=True)
class Trials:
    """Trainings of one model from the same weights with one seed after another.

    Attributes:
        trainee: the model, in place.
        seeds: of the trainings.
        train: the training with a seed, its checkpoint in the folder of that name where there is one.
        folder: where all of it is kept; None for nowhere.
        settings: a fingerprint of what they have in common.
    """

    trainee: Trainee
    seeds: Sequence[int]
    train: Callable[[int, Path | None], Hardened]
    folder: Path | None
    settings: str

    def run(self) -> Hardened:
        """All of them; the model then has the weights of the one that withstood most on held-out rows.

        Raises:
            TrainingStopped: every one came to nothing.
        """
        came = self.trainee.sha256()
        found = self._done_before(came)
        if found is not None:
            return found
        start = {name: t.clone() for name, t in self.trainee.model.state_dict().items()}
        best: tuple[Hardened, dict[str, Tensor]] | None = None
        runs: list[Run] = []
        resumed = 0
        for seed in self.seeds:
            self.trainee.model.load_state_dict(start)
            try:
                result = self.train(seed, None if self.folder is None else self.folder / f"seed-{seed}")
            except TrainingStopped as error:
                runs.append(Run(seed, 0, 0, 0.0, 0.0, 0.0, str(error)))
                continue
            after, resumed = result.after, resumed + result.resumed
            runs.append(Run(seed, len(result.history) - 1, result.best, after.clean, after.pgd, result.cost, result.stopped, after.chosen))
            if best is None or after.rank > best[0].after.rank:
                best = result, {name: t.clone() for name, t in self.trainee.model.state_dict().items()}
        if best is None:
            self.trainee.model.load_state_dict(start)
            raise TrainingStopped(f"all {len(runs)} seeds came to nothing; the last: {runs[-1].stopped}")
        self.trainee.model.load_state_dict(best[1])
        cost = sum(run.cost for run in runs)
        told = replace(best[0], cost=cost, resumed=resumed, notes=(*best[0].notes, *judged(runs)), runs=tuple(runs))
        self._keep(told, came)
        return told

    def _keep(self, told: Hardened, came: str) -> None:
        """Write down that it is done, in one piece."""
        if self.folder is None:
            return
        said = {**asdict(told), "path": str(told.path.relative_to(self.folder)) if told.path else None}
        text = json.dumps({"format": FORMAT, "settings": self.settings, "model": came, "result": self.trainee.sha256(), "told": said})
        beside = self.folder / f".{DONE}.part"
        try:
            beside.write_text(text, encoding="utf-8")
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(self.folder / DONE)
        except OSError as error:
            raise BadRun(f"{self.folder / DONE}: cannot be written: {error.strerror or error}") from error

    def _done_before(self, came: str) -> Hardened | None:
        """What an earlier run came to, for this very model or the one it made of it; None where there is none."""
        path = None if self.folder is None else self.folder / DONE
        if path is None or self.folder is None or not path.exists():
            return None
        try:
            raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if raw["format"] != FORMAT or raw["settings"] != self.settings or came not in (raw["model"], raw["result"]):
                return None
            told = raw["told"]
            runs = tuple(Run(**run) for run in told.pop("runs"))
            history = tuple(Epoch(**e) for e in told.pop("history"))
            weights = self.folder / told.pop("path")
            self.trainee.model.load_state_dict(load_file(weights))
            told |= {"notes": tuple(told["notes"]), "resumed": sum(run.epochs for run in runs)}
            return Hardened(path=weights, history=history, runs=runs, **told)
        except (ValueError, TypeError, KeyError, AttributeError, OSError, SafetensorError) as error:
            raise BadRun(f"{path} is damaged ({type(error).__name__}); begin afresh (--fresh)") from error


def judged(runs: Sequence[Run]) -> list[str]:
    """What must be said about a choice among seeds, and where they disagree."""
    kept = max(runs, key=lambda run: run.rank)
    least, most = min(run.pgd for run in runs), max(run.pgd for run in runs)
    by = "PGD" if kept.chosen is None else "what epochs are chosen by"
    said = [
        f"seed {kept.seed} is kept, the best of {len(runs)} by {by} on the held-out rows; being chosen there, it looks better there than it is"
    ]
    if most - least > APART:
        failed = sum(not run.epochs for run in runs)
        nothing = f", {failed} of them came to nothing" if failed else ""
        said.append(
            f"seeds disagree: from {least:.1%} to {most:.1%} withstand PGD{nothing}; one training says little about this recipe: "
            "use more steps of the inner attack, a longer ramp, a lower learning rate, or more epochs"
        )
    return said
