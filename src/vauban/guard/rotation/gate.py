"""The gate: may this ensemble take the place of that one? Only if it is of other families, no worse, and not fooled by what fooled the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vauban.guard.config.model import Models
from vauban.guard.images.picture import Pixels
from vauban.guard.quorum.calibrate import allowed_of, scored
from vauban.guard.quorum.ensemble import Ensemble, decided, measured
from vauban.guard.quorum.manifest import Errors
from vauban.guard.quorum.model import Model
from vauban.guard.quorum.rows import Rows
from vauban.measure.exact import clopper_pearson
from vauban.measure.paired import mcnemar

HOLDS, BREACHED, UNABLE = "holds", "breached", "unable"
SURE = 0.05
"""p of the paired test below which a difference is one."""
FEWEST = 2
"""Models that an ensemble has at least, where [models] least says nothing."""
ADVERSARIAL = "adversarial"


@dataclass(frozen=True)
class Finding:
    """One thing that the gate looked at.

    Attributes:
        name: "families", "members", "live rows", "attack print", "transfer", ...
        verdict: "holds", "breached", or "unable": too little to say, which does not pass either.
        text: what was found.
    """

    name: str
    verdict: str
    text: str

    def facts(self) -> dict[str, Any]:
        """As JSON says it."""
        return asdict(self)


def judge(
    successor: Ensemble, retiring: Ensemble, recent: Sequence[Sequence[str]], rows: Rows, fooling: Sequence[Pixels], models: Models
) -> list[Finding]:
    """Everything that the gate looks at; it passes if all of it holds.

    Args:
        recent: the families of the ensembles that were live last, the retiring one first.
        rows: live pictures and attacks of every kind, on which both are measured as one; none that a training or calibration has seen.
        fooling: adversarial examples made on the retiring ensemble.
        models: `[models]`: what is allowed.

    Raises:
        BadManifest: a file of an ensemble is not what was signed.
    """
    new, old = successor.models(), retiring.models()
    now, before = decided(new, rows, models.vote), decided(old, rows, models.vote)
    return [
        _members(successor, models),
        _families(successor, recent[: models.recent]),
        *_errors(now, before, rows, models),
        _transfer(new, old, fooling, models),
    ]


def passes(findings: Sequence[Finding]) -> bool:
    """Whether all of it holds."""
    return all(f.verdict == HOLDS for f in findings)


def transfer_matrix(ensembles: Sequence[Ensemble], fooling: Sequence[Sequence[Pixels]], models: Models) -> npt.NDArray[np.float64]:
    """Who is fooled by what was made on whom: row i, column j is the share of the examples of i, of those that fool i, which j accepts.

    NaN where none of the examples fools the ensemble that they were made on.
    """
    loaded = [e.models() for e in ensembles]
    found = np.full((len(ensembles), len(ensembles)), np.nan)
    for i, examples in enumerate(fooling):
        rows = Rows(list(examples), (ADVERSARIAL,) * len(examples))
        by = [decided(m, rows, models.vote) for m in loaded] if examples else []
        for j, accepted in enumerate(by):
            if by[i].any():
                found[i, j] = float(accepted[by[i]].mean())
    return found


def _members(successor: Ensemble, models: Models) -> Finding:
    count, families = len(successor.manifests), len(successor.families)
    good = count >= (models.least or FEWEST) and families == count
    return Finding(
        "members", HOLDS if good else BREACHED, f"{count} models of {families} families; {models.least or FEWEST} or more, each of its own"
    )


def _families(successor: Ensemble, recent: Sequence[Sequence[str]]) -> Finding:
    again = sorted(set(successor.families) & {f for families in recent for f in families})
    if again:
        return Finding("families", BREACHED, f"{', '.join(again)} used in the last {len(recent)} ensembles")
    return Finding("families", HOLDS, f"{', '.join(successor.families)}: none used in the last {len(recent)} ensembles")


def _errors(now: npt.NDArray[np.bool_], before: npt.NDArray[np.bool_], rows: Rows, models: Models) -> list[Finding]:
    """The operating point: live rows that are rejected, and attacks of each kind that are accepted, against the retiring ensemble's."""
    new, old = measured(now, rows, models.vote), measured(before, rows, models.vote)
    live = rows.live
    found = [no_worse("live rows", ~now[live], ~before[live], new.live, old.live, models.worse, most=models.rejected)]
    kinds = np.array(rows.kinds)
    for kind in new.attacks:
        here = kinds == kind
        found.append(no_worse(f"attack {kind}", now[here], before[here], new.attacks[kind], old.attacks[kind], models.worse))
    if not new.attacks:
        found.append(Finding("attacks", UNABLE, "the rows hold no attack; whether the successor is worse at them cannot be told"))
    return found


def no_worse(
    name: str, now: npt.NDArray[np.bool_], before: npt.NDArray[np.bool_], new: Errors, old: Errors, worse: float, most: float = 1.0
) -> Finding:
    """By the upper bounds, and by the rows that only one of both gets wrong (exact McNemar test); what cannot be shown does not pass."""
    only_new, only_old = int((now & ~before).sum()), int((before & ~now).sum())
    p = mcnemar(only_new, only_old)
    told = f"wrong on {new.wrong} of {new.rows}, at most {new.bounds[1]:.1%}; before {old.wrong}, at most {old.bounds[1]:.1%}; McNemar p = {p:.3f}"
    if p < SURE and only_new > only_old:
        return Finding(name, BREACHED, f"{told}; worse than the retiring ensemble")
    if new.bounds[1] > most:
        return Finding(name, *_beyond(new.wrong, new.rows, most, told))
    if new.bounds[1] > old.bounds[1] + worse:
        return Finding(name, UNABLE, f"{told}; too few rows to show that it is no worse than the retiring ensemble")
    return Finding(name, HOLDS, told)


def _beyond(wrong: int, rows: int, most: float, told: str) -> tuple[str, str]:
    """What an upper bound that is too high means: too many were wrong, or there were too few rows to tell."""
    if wrong > most * rows:
        return BREACHED, f"{told}; more than {most:.1%}"
    return UNABLE, f"{told}; too few to show that it is at most {most:.1%}"


def _transfer(new: Sequence[Model], old: Sequence[Model], fooling: Sequence[Pixels], models: Models) -> Finding:
    """Of the examples that fool the retiring ensemble, as few as allowed may fool the successor.

    Where too few fool all of it, those that fool one of its models are taken: they are what an attacker has got so far.
    """
    rows, most = Rows(list(fooling), (ADVERSARIAL,) * len(fooling)), models.transfer
    whole = decided(old, rows, models.vote)
    some, who = whole, "the retiring ensemble"
    if allowed_of(int(whole.sum()), most) < 0:
        each = [scored(m, rows) > m.manifest.threshold for m in old]
        some, who = np.logical_or.reduce(each), "a model of the retiring ensemble"
    count, still = int(some.sum()), int((some & decided(new, rows, models.vote)).sum())
    high = clopper_pearson(still, count)[1]
    told = f"{still} of {count} examples that fool {who} fool the successor, at most {high:.1%}"
    if high <= most:
        return Finding("transfer", HOLDS, told)
    return Finding("transfer", *_beyond(still, count, most, told))
