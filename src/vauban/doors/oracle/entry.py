"""What an oracle checks and asks before the attacker arrives: the rows themselves, their clean answers, and which of them are eligible."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.doors.oracle.passes import Chunks
from vauban.errors import BadData, BadPlan, BadTarget
from vauban.geometry import Body, body_of
from vauban.noise import RowNoise
from vauban.target import Target
from vauban.threat import Access, Ball, Goal, Threat


@dataclass(frozen=True, eq=False)
class Answers:
    """Clean answers: labels, whether they are right, whether the scores are finite, whether there was no answer, and how many classes there are."""

    labels: Tensor
    correct: Tensor
    nonfinite: Tensor
    missing: Tensor
    classes: int


def checked_rows(x: Tensor, y: Tensor, device: torch.device, threat: Threat) -> tuple[Tensor, Tensor]:
    """The rows on the target's device, as float inputs and int64 labels.

    Raises:
        BadData: no rows, different lengths, NaN, inputs outside the threat's box, or labels that are no whole numbers.
    """
    if len(x) == 0 or len(x) != len(y):
        raise BadData(f"{len(x)} inputs and {len(y)} labels; there must be as many of both, and at least one")
    if y.is_floating_point() or y.ndim != 1:
        raise BadData(f"labels must be whole numbers, one for each input; these are {y.dtype} of shape {tuple(y.shape)}")
    if not x.is_floating_point():
        raise BadData(f"inputs must be floats; these are {x.dtype}: scale them to the range that the model takes")
    x, y = x.detach().to(device), y.to(device=device, dtype=torch.int64)
    allowed = threat.perturbation
    box = body_of(Ball(lo=allowed.lo, hi=allowed.hi), x)
    if box.holds(x) and box.width < math.inf:
        return x, y
    if not bool(torch.isfinite(x).all()):
        row = int((~torch.isfinite(x.flatten(1)).all(1)).nonzero()[0, 0])
        raise BadData(f"row {row} of the inputs is not finite; remove it or repair it")
    return _inside(x, box, threat), y


def _inside(x: Tensor, body: Body, threat: Threat) -> Tensor:
    """The rows, which must lie in the box; what rounding left a hair outside is put on the wall."""
    outside = body.outside(x, x)
    if bool((outside > 1e-6 * body.width).any()):
        row = int(outside.argmax())
        raise BadData(
            f"row {row} of the inputs lies outside the box of threat {threat.name!r}: its values span [{float(x[row].min()):g}, "
            f"{float(x[row].max()):g}]; give the bounds of the inputs as lo and hi"
        )
    return torch.clamp(x, *body.limits(x)) if bool((outside > 0).any()) else x


def clean_answers(target: Target, x: Tensor, y: Tensor, chunks: Chunks, noise: RowNoise, *, judging: bool) -> Answers:
    """What the target says to the clean inputs. A tie with the true class is the defender's.

    Raises:
        BadTarget: one class or none, changing class counts, or scores that are mostly not finite.
        BadData: a label that the target has no class for.
    """
    if not judging:
        draw = noise.fork("clean").take(torch.zeros(1, dtype=torch.int64, device=x.device)) if target.randomised else None
        classes = target.scores(x[:1], draw).shape[1]
        yes = torch.ones(len(x), dtype=torch.bool, device=x.device)
        return Answers(y, yes, ~yes, ~yes, classes)
    target.prepare(x[: chunks.most])
    if target.access < Access.SCORE:
        return _clean_labels(target, x, y, chunks, noise)

    def part(s: slice) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        draw = noise.fork("clean").take(torch.arange(s.start, s.stop, device=x.device)) if target.randomised else None
        z = target.scores(x[s], draw).to(x.device)
        if z.ndim != 2 or z.shape[1] < 2:
            raise BadTarget(f"{target.name}: outputs of shape {tuple(z.shape)}; a classifier has at least two classes")
        finite = torch.isfinite(z).all(1)
        _check_labels(y, z.shape[1])
        own = z.gather(1, y[s, None])[:, 0]
        right = finite & (own >= z.amax(1))
        answer = torch.where(right, y[s], z.argmax(1))
        missing = torch.isnan(z).all(1) & target.refuses
        return answer, right & (answer != target.reject), ~finite, missing, torch.full_like(answer, z.shape[1])

    labels, correct, nonfinite, missing, classes = chunks.whole(len(x), part)
    if int(classes.min()) != int(classes.max()):
        raise BadTarget(
            f"{target.name}: between {int(classes.min())} and {int(classes.max())} classes for different inputs; a classifier has always as many"
        )
    _check_answered(target, missing)
    if float((nonfinite & ~missing).float().mean()) > 0.5:
        raise BadTarget(
            f"{target.name}: {int(nonfinite.sum())} of {len(x)} clean inputs have scores that are not finite; nothing can be judged"
        )
    return Answers(labels, correct, nonfinite, missing, int(classes[0]))


def _clean_labels(target: Target, x: Tensor, y: Tensor, chunks: Chunks, noise: RowNoise) -> Answers:
    def part(s: slice) -> tuple[Tensor]:
        draw = noise.fork("clean").take(torch.arange(s.start, s.stop, device=x.device)) if target.randomised else None
        return (target.labels(x[s], draw).to(x.device),)

    labels = chunks.whole(len(x), part)[0]
    missing = (labels == -1) & target.refuses
    _check_answered(target, missing)
    classes = target.classes or max(int(labels.max()), int(y.max())) + 1
    _check_labels(y, classes)
    correct = (labels == y) & (labels != (-1 if target.reject is None else target.reject))
    return Answers(labels, correct, torch.zeros_like(correct), missing, max(classes, 2))


def _check_answered(target: Target, missing: Tensor) -> None:
    """A model that refuses to answer about everything is not robust; it was not measured."""
    if bool(missing.all()):
        raise BadTarget(f"{target.name}: no answer to any of {len(missing)} clean inputs; nothing can be measured until it answers some")


def _check_labels(y: Tensor, classes: int) -> None:
    if int(y.min()) < 0 or int(y.max()) >= classes:
        row = int(((y < 0) | (y >= classes)).nonzero()[0, 0])
        raise BadData(f"row {row}: label {int(y[row])} is out of range; the target has classes 0 to {classes - 1}")


def eligible_rows(goal: Goal, y: Tensor, correct: Tensor, ids: Tensor, *, judging: bool = True) -> tuple[Tensor, Tensor]:
    """(eligible, attacked), bool (n,). Untargeted: all rows count and the correct ones are attacked. Otherwise: the rows of the source
    classes that are classified correctly and are not already what is wanted, for both.

    Raises:
        BadPlan: no row is of a class to be attacked, or there are wanted classes for fewer rows than there are.
    """
    if goal.untargeted:
        return torch.ones_like(correct), correct
    eligible = torch.ones_like(correct)
    if goal.sources:
        eligible &= torch.isin(y, torch.tensor(goal.sources, device=y.device))
    if isinstance(goal.wanted, int):
        eligible &= y != goal.wanted
    elif goal.wanted is not None:
        if int(ids.max()) >= len(goal.wanted):
            raise BadPlan(f"goal: {len(goal.wanted)} wanted classes, and rows up to number {int(ids.max())}; give one for each row")
        eligible &= y != torch.tensor(goal.wanted, device=y.device)[ids]
    if judging and not bool(eligible.any()):
        raise BadPlan(f"goal {goal.text()}: no row is of a source class and not already as wanted; give rows that can be attacked")
    eligible &= correct
    return eligible, eligible
