"""Which keys of a campaign file go together: those about texts where the data are texts, and those about numbers where they are not."""

from __future__ import annotations

from collections.abc import Iterator

from vauban.campaign.behind import BEHIND
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.target import DataTable
from vauban.campaign.file.threat import GoalTable, ThreatTable
from vauban.threat import exact
from vauban.toml import Where

TEXT_TARGET = ("encode", "normalised")
TEXT_DATA = ("kind", "text")
TEXT_THREAT = ("families", "metric", "protected", "pattern")
NUMBER_TARGET = ("http", "mean", "std", "gradients")
NUMBER_DATA = ("bounds", "x", "y", "layout")
NUMBER_THREAT = ("mask", "pixels", "patch", "rotation", "translation", "features", "surrogate", "samples", "radii")
ALL = 'kind = "text": texts can be checked and audited, and nothing else'
"""What is said to who wants more."""
INSTEAD = {"http": "an endpoint is asked for texts by a function of a list of strings, which load names"}
"""What to do in place of a key, where leaving it out is not enough."""


def findings_of(model: FileModel) -> list[str]:
    """The names of the findings that a campaign will have: its threats, and of texts the same behind the normaliser."""
    both = model.data.kind == "text" and model.target.normalised is None
    return [name for t in model.threat for name in ((t.name, t.name + BEHIND) if both else (t.name,))]


def check_kinds(model: FileModel) -> None:
    """Whether everything that is written goes with the kind of the data.

    Raises:
        BadPlan: a key about texts where the data are numbers, or the other way round; a change of texts that is not counted in edits.
    """
    source = model.source
    for where, table in _other_data(model):
        for key in TEXT_DATA:
            if key in table.model_fields_set:
                raise source.told((*where, key), f"{key} is about the texts under attack, which [data] names; leave it out")
    if model.data.kind == "text":
        _refuse(model, NUMBER_TARGET, NUMBER_DATA, NUMBER_THREAT, "{key} is about numbers, and the data are texts; leave it out")
        for key, written in (("surrogate", bool(model.surrogate)), ("defence", bool(model.defence)), ("harden", model.harden is not None)):
            if written:
                raise source.told((key,), f"{key} is for models that take numbers; leave it out", inside=False)
        for i, threat in enumerate(model.threat):
            _check_edits(model, i, threat)
        return
    _refuse(
        model, TEXT_TARGET, ("text",), TEXT_THREAT, '{key} is about texts, and the data are none; for texts say kind = "text" in [data]'
    )
    for i, threat in enumerate(model.threat):
        if threat.norm == "edits":
            raise source.told(
                ("threat", i, "norm"), 'norm = "edits" counts edits of texts, and the data are none; say kind = "text" in [data]'
            )


def _other_data(model: FileModel) -> Iterator[tuple[Where, DataTable]]:
    """Tables of data besides `[data]`."""
    if model.harden is not None and model.harden.data is not None:
        yield ("harden", "data"), model.harden.data
    yield from ((("defence", i, "data"), d.data) for i, d in enumerate(model.defence) if d.data is not None)
    yield from ((("threat", i, "samples"), t.samples) for i, t in enumerate(model.threat) if t.samples is not None)
    yield from ((("surrogate", i, "train", "data"), s.train.data) for i, s in enumerate(model.surrogate) if s.train is not None)


def _refuse(model: FileModel, target: tuple[str, ...], data: tuple[str, ...], threat: tuple[str, ...], message: str) -> None:
    """Refuse the first of some keys that is written."""
    places: list[tuple[Where, set[str], tuple[str, ...]]] = [
        (("target",), model.target.model_fields_set, target),
        (("data",), model.data.model_fields_set, data),
        *((("threat", i), t.model_fields_set, threat) for i, t in enumerate(model.threat)),
    ]
    for where, written, keys in places:
        for key in (k for k in keys if k in written):
            raise model.source.told((*where, key), INSTEAD.get(key, message.format(key=key)))


def _check_edits(model: FileModel, place: int, table: ThreatTable) -> None:
    told = model.source.told
    if table.norm != "edits":
        key = ("norm",) if table.norm else ()
        said = f"norm = {table.norm!r}" if table.norm else "no norm"
        raise told(("threat", place, *key), f'{said} is none of texts, which are changed by edits; say norm = "edits"', inside=bool(key))
    most = 0.0 if table.eps is None else float(exact(table.eps))
    if most < 1 or not most.is_integer():
        raise told(("threat", place, "eps"), f"eps = {table.eps!r} must be a whole number of edits, 1 or more")
    if table.name.endswith(BEHIND):
        raise told(("threat", place, "name"), f'a name cannot end in "{BEHIND}": so the same threat is called behind the normaliser')
    if isinstance(table.goal, GoalTable) and isinstance(table.goal.wanted, str) and table.goal.wanted.endswith(".npy"):
        raise told(("threat", place, "goal", "wanted"), "wanted is one class for all texts; name the class")
