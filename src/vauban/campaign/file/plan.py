"""From a campaign file to a plan: data and models loaded, class names made indices, every attack's settings bound."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vauban.attacks.substitute import Substitute, check_training, train_substitute
from vauban.attacks.trained import Trained
from vauban.campaign.file import kinds
from vauban.campaign.file.attackers import sieges_of
from vauban.campaign.file.classes import class_index
from vauban.campaign.file.defended import defended
from vauban.campaign.file.guests import guests
from vauban.campaign.file.http import GuardTable
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.read import settled
from vauban.campaign.file.resolved import resolved_of
from vauban.campaign.file.source import Source
from vauban.campaign.file.target import DataTable, ModelTable, TargetTable
from vauban.campaign.file.threat import SurrogateTable, TrainTable
from vauban.campaign.plan import Plan
from vauban.data import Rows, load_data
from vauban.errors import BadTarget
from vauban.target import Surrogate, Target, Torch, load_target
from vauban.target.surrogates import Own
from vauban.user_code import find, is_code


@dataclass(frozen=True)
class Loader:
    """How things named in a file are loaded: relative to which folder, and whether pickles are trusted."""

    source: Source
    trust_pickle: bool = False

    def data(self, table: DataTable, seed: int, *where: str | int) -> Rows:
        """The rows of `[data]`, or of another table of its shape at `where`."""
        lo, hi = table.bounds if table.bounds is not None else (None, None)
        if table.kind == "text":
            raise self.source.told((*where, "kind"), kinds.ALL)
        with self.source.blaming(*where), guests():
            return load_data(
                table.load,
                base=self.source.base,
                rows=table.rows,
                seed=seed,
                lo=lo,
                hi=hi,
                x=table.x,
                y=table.y,
                group=table.group,
                label=table.label,
                classes=table.classes,
                split=table.split,
                layout=table.layout,
            )

    def target(self, table: TargetTable, classes: tuple[str, ...], data: Rows | None = None) -> Target:
        """The model under attack; `classes` names what `reject` may mean, and `data` tell an endpoint their range and features.

        A column for rejection is often one more than there are classes in the data.
        """
        with self.source.blaming("target"), guests():
            reject = None if table.reject is None else class_index(table.reject, classes, "reject", len(classes) + 1)
            if table.guard is not None:
                return guarded_of(table.load, table.guard, table.name)
            return self._model(table, access=table.access, reject=reject, name=table.name, http=self._endpoint(table, classes, data))

    def _endpoint(self, table: TargetTable, classes: tuple[str, ...], data: Rows | None) -> dict[str, Any] | None:
        """What `[target.http]` says, completed by the data and by where the file lies."""
        if table.http is None:
            return None
        said = table.http.model_dump()
        known = {} if data is None else {"lo": data.lo, "hi": data.hi, "features": data.features}
        fits = {k: v for k, v in known.items() if (v if k == "features" else isinstance(v, int | float))}
        request = {k: v for k, v in said["request"].items() if v is not None and not (k == "features" and not v)}
        answer = {k: v for k, v in said["answer"].items() if not (k == "classes" and not v)}
        said["request"] = {**fits, **request}
        said["answer"] = {"classes": classes, **answer}
        said["journal"] = self.source.base / (said["journal"] or f"{self.source.path.stem}.journal")
        return said

    def surrogate(self, table: SurrogateTable, place: int, target: Target, seed: int) -> Surrogate:
        """A model of the attacker's own, to be trained where the file says so; a `Surrogate` that code names is taken as it is."""
        if table.train is not None:
            return self._trained(table, table.train, place, target, seed)
        with self.source.blaming("surrogate", place):
            with guests():
                found = find(table.load, self.source.base) if is_code(table.load) else None
            if isinstance(found, Surrogate) and not isinstance(found, Target):
                return found
            with guests():
                return Own(self._model(table, name=table.name))

    def _trained(self, table: SurrogateTable, how: TrainTable, place: int, target: Target, seed: int) -> Surrogate:
        """A surrogate that will be trained on inputs of the attacker's own."""
        data = self.data(how.data, seed, "surrogate", place, "train", "data")
        teacher = None if how.learn == "classes" else target
        with self.source.blaming("surrogate", place):
            check_training(data.x, data.y, teacher, how.questions)
            with guests():
                network = None if table.load == "default" else as_torch(self._model(table, name=table.name))

        def train() -> Substitute:
            with self.source.blaming("surrogate", place):
                return train_substitute(
                    data.x,
                    data.y,
                    teacher,
                    classes=target.classes,
                    model=None if network is None else deepcopy(network.model),
                    rounds=how.rounds,
                    questions=how.questions,
                    step=how.step,
                    epochs=how.epochs,
                    scores=how.learn == "scores",
                    seed=seed,
                )

        return Trained(train, data.x, data.y, how.model_dump_json(exclude={"data"}), 0 if teacher is None else how.questions, network)

    def _model(self, table: ModelTable, **more: Any) -> Target:
        return load_target(
            table.load,
            weights=table.weights,
            outputs=table.outputs,
            mean=table.mean,
            std=table.std,
            device=table.device,
            gradients=table.gradients,
            trust_pickle=self.trust_pickle,
            base=self.source.base,
            **more,
        )


def guarded_of(url: str, table: GuardTable, name: str) -> Target:
    """The guard that `[target.guard]` says.

    Raises:
        BadPlan: the key is written down, or not in the environment.
        Missing: what asks it is not installed.
    """
    from vauban.target.guarded import over_http
    from vauban.target.http import Authorisation

    allowed = Authorisation(table.authorisation.statement, tuple(table.authorisation.allowed_hosts))
    return over_http(
        url,
        table.key,
        allowed,
        devices=table.devices,
        pace=table.pace,
        days=table.days,
        direct=table.direct,
        accepted=table.accepted,
        name=name,
    )


def as_torch(target: Target) -> Torch:
    """A target that can be trained.

    Raises:
        BadTarget: it is no torch module.
    """
    if not isinstance(target, Torch):
        raise BadTarget(
            f'{target.name}: only a torch module can be trained as a surrogate, and this is {target.kind}; say load = "default" for a small one'
        )
    return target


def plan_of(model: FileModel, path: str | Path | None = None, *, trust_pickle: bool = False) -> Plan:
    """A campaign file with everything in it loaded and bound, ready to run.

    Args:
        model: the file, checked.
        path: where it lies; by default where it was read from.
        trust_pickle: whether pickled models may be read, which can run any code.

    Raises:
        BadPlan, BadData, BadTarget, NotGranted: something in it cannot be carried out; with file, line and key.
    """
    source, promises = settled(model, path)
    loader = Loader(source, trust_pickle)
    data = loader.data(model.data, model.seed, "data")
    target = defended(loader, model, loader.target(model.target, data.classes, data), data)
    surrogates = {table.name: loader.surrogate(table, i, target, model.seed) for i, table in enumerate(model.surrogate)}
    samples = {i: loader.data(t.samples, model.seed, "threat", i, "samples") for i, t in enumerate(model.threat) if t.samples is not None}
    sieges = sieges_of(model, source, target, data, surrogates, samples)
    return Plan(
        title=model.title or f"{target.name} on {data.name}",
        target=target,
        data=data,
        sieges=sieges,
        promises=promises,
        seed=model.seed,
        chunk=model.run.chunk,
        max_rows=model.run.max_rows,
        keep_inputs=model.run.inputs,
        resolved=resolved_of(model, target, data, sieges, surrogates),
        source=source.path,
    )
