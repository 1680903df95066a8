"""The campaign file that `vauban init` writes: what was answered, and beside it, as comments, what else can be said."""

from __future__ import annotations

import json
from dataclasses import dataclass

from vauban.errors import BadPlan

TEXT = """\
# A Vauban campaign. Paths are relative to this file. `vauban check` tries it, `vauban audit` runs it.
seed = 0

[target]
load = {model}  # "file.py:function", "package.module:function", "model.onnx", or "model.joblib" with --trust-pickle
{weights}
# mean = [0.485, 0.456, 0.406]  # normalisation, where the model does not do it by itself
# std = [0.229, 0.224, 0.225]
# outputs = "logits"            # recognised by itself; `vauban list outputs`
# access = "score"              # attack it as a black box

[data]
load = {data}  # "data.npz", a folder of images, "rows.csv", "rows.parquet", or "file.py:function"
{bounds}  # the range inputs can have; a table of numbers must say
{classes}
# rows = 1000                   # a sample that depends on the seed alone
# group = "site"                # results broken down by this array or column

[[threat]]
name = {threat}
norm = {norm}  # linf, l2, l1, l0
eps = {eps}
goal = {goal}  # "untargeted", or {{ wanted = "live", from = ["spoof"] }}
{access}
# queries = 1000                # how often it may ask, for each row
# seconds = 600                 # how long the campaign under this threat may run
suite = "vauban"  # `vauban list suites`

# [[threat.attack]]             # and more attacks, in order; `vauban list attacks`
# name = "pgd"
# steps = 100

[promise]
{promise}

[run]
# inputs = false                # keep no inputs in the run folder
folder = "runs"
"""


@dataclass(frozen=True)
class Answers:
    """What a person said; empty where nothing was said."""

    model: str
    data: str
    weights: str = ""
    norm: str = "linf"
    eps: str = "8/255"
    goal: str = "untargeted"
    access: str = ""
    threat: str = "insider"
    bounds: str = ""
    classes: str = ""
    promise: str = ""


def campaign_text(a: Answers) -> str:
    """The campaign file for some answers.

    Raises:
        BadPlan: an answer that cannot be read.
    """
    robust = _number(a.promise, "--promise") if a.promise else 0.5
    return TEXT.format(
        model=_text(a.model),
        data=_text(a.data),
        threat=_text(a.threat),
        norm=_text(a.norm),
        eps=_eps(a.eps),
        goal=goal_text(a.goal),
        weights=_line("weights", _text(a.weights or "model.safetensors"), bool(a.weights)),
        bounds=_line("bounds", _bounds(a.bounds), bool(a.bounds)),
        classes=_line("classes", _list(a.classes or "spoof,live"), bool(a.classes)),
        access=_line("access", _text(a.access or "gradient"), bool(a.access)),
        promise=_line(_text(a.threat), f"{{ robust_accuracy = {robust:g} }}", bool(a.promise)),
    )


def goal_text(goal: str) -> str:
    """A goal in words as TOML.

    >>> goal_text("spoof, mask -> live"), goal_text("3")
    ('{ wanted = "live", from = ["spoof", "mask"] }', '{ wanted = 3 }')
    """
    if goal == "untargeted":
        return _text(goal)
    sources, arrow, wanted = goal.rpartition("->")
    if not wanted.strip() or (arrow and not sources.strip()):
        raise BadPlan(f'goal {goal!r} cannot be read; write "untargeted", a wanted class, or "spoof->live"')
    from_ = f", from = {_list(sources)}" if arrow else ""
    return f"{{ wanted = {_class(wanted.strip())}{from_} }}"


def _line(key: str, value: str, said: bool) -> str:
    return f"{'' if said else '# '}{key} = {value}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _class(word: str) -> str:
    return word if word.isdecimal() else _text(word)


def _list(words: str) -> str:
    return f"[{', '.join(_class(w.strip()) for w in words.split(',') if w.strip())}]"


def _eps(word: str) -> str:
    try:
        return f"{float(word):g}"
    except ValueError:
        return _text(word)


def _bounds(word: str) -> str:
    low, _, high = (word or "0,1").partition(",")
    return f"[{_number(low, '--bounds'):g}, {_number(high, '--bounds'):g}]"


def _number(word: str, option: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise BadPlan(f"{option}: {word!r} is not a number") from error
