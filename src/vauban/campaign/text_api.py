"""An audit of a classifier of texts from Python, ending in the same record as any other."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vauban.attacks import Attack
from vauban.attacks.text.registry import TextRecipe, able, check, find_text
from vauban.attacks.text.suite import text_suite
from vauban.campaign.api import Promised, promises_of
from vauban.campaign.plan import Siege
from vauban.campaign.record import Record
from vauban.campaign.text.carry import fight, publish, record_of
from vauban.campaign.text.plan import TextPlan, doubled
from vauban.data.texts import Texts
from vauban.doors.text import Normalised, TextTarget, as_text_target
from vauban.doors.text.judge import checked_texts
from vauban.errors import BadData, BadPlan
from vauban.threat import Threat

Named = Attack | TextRecipe[Any] | str
"""An attack with its settings, one with its defaults, or its name."""


def audit_text(
    target: TextTarget | object,
    texts: Sequence[str],
    labels: Sequence[int] | Tensor,
    threats: Threat | Iterable[Threat],
    *,
    attacks: Iterable[Named] | None = None,
    normalised: bool = True,
    promises: Promised | None = None,
    curve: bool = False,
    seed: int = 0,
    folder: str | Path | None = None,
    title: str = "",
    classes: Sequence[str] = (),
    groups: Sequence[object] | None = None,
    session: int = 5,
    day: int = 10,
    max_rows: int = 256,
    keep_inputs: bool = True,
) -> Record:
    """Attack a classifier of texts under stated threats, as it is and behind the confusable-skeleton normaliser.

    Args:
        target: a `TextTarget`, a scikit-learn pipeline, or a function from a list of texts to class scores.
        texts, labels: clean texts and their true classes.
        threats: one or several whose perturbation is `Edits`.
        attacks: in this order; by default all attacks on texts that can act under a threat, cheap ones first.
        normalised: whether each threat is also tried against `Normalised(target)`: a finding named like the threat with ", normalised" behind.
        promises: the least robust accuracy by name of a finding, as in `vauban.audit`.
        curve: whether attacks go on with broken rows, looking for fewer edits.
        seed: of all random numbers.
        folder: where to write record.json, report.html, junit.xml, findings.sarif, the evidence and the adversarial texts; by default nothing is.
        title: what the report is headed with.
        classes: names of the classes.
        groups: the subgroup of each row.
        session, day: questions that the service under attack lets pass in a session, and from a device in a day.
        max_rows: texts in one call of the target.
        keep_inputs: whether texts are written and shown in the report.

    Returns:
        The record: robust accuracy with intervals, the ledger of questions, and what the adversarial texts are worth (`Finding.validity`).

    Raises:
        BadPlan, BadData, BadTarget, NotGranted: something cannot be done as asked; one sentence says what, and the mend.

    >>> from vauban.threat import Access, Edits, Threat
    >>> def spam(texts):
    ...     return [[1.0, 2.0 * ("prize" in t)] for t in texts]
    >>> texts = ["you won a prize", "see you at noon"]
    >>> record = audit_text(spam, texts, [1, 0], Threat("spammer", Edits(1, ["homoglyph"]), Access.SCORE), attacks=["deep-word-bug"])
    >>> [(f.name, f.robust.hits) for f in record]
    [('spammer', 1), ('spammer, normalised', 2)]
    """
    began, victim = time.perf_counter(), as_text_target(target)
    clean, y = checked_texts(texts, labels)
    listed = _threats(threats, both=normalised and not isinstance(victim, Normalised))
    promised = promises_of(promises or {}, listed)
    names = tuple(map(str, groups)) if groups is not None else None
    if names is not None and len(names) != len(clean):
        raise BadData(f"{len(names)} groups for {len(clean)} texts; give one for each")
    bound = None if attacks is None else tuple(map(_attack, attacks))
    sieges = tuple(Siege(t, _attacks(bound, t), curve, session=session, day=day) for t in listed)
    data = Texts(clean, y, tuple(classes), torch.arange(len(clean)), groups=names, group_column="" if names is None else "group")
    plan = TextPlan(title, victim, data, sieges, promised, seed, max_rows)
    fought = fight(plan)
    record = record_of(plan, fought, time.perf_counter() - began, "vauban.audit_text(...)")
    if folder is not None:
        publish(record, fought, Path(folder), keep_inputs=keep_inputs)
    return record


def _threats(threats: Threat | Iterable[Threat], *, both: bool) -> tuple[Threat, ...]:
    """The threats, each followed by the same against the normalised target."""
    listed = (threats,) if isinstance(threats, Threat) else tuple(threats)
    if not listed:
        raise BadPlan('no threat: say what the attacker may do, such as threats=Threat("spammer", Edits(3), access=Access.SCORE)')
    for threat in listed:
        if threat.perturbation.kind != "edits":
            raise BadPlan(f"threat {threat.name!r} allows {threat.perturbation.kind}, and these are texts; allow Edits")
    return doubled(listed, both=both)


def _attack(named: Named) -> Attack:
    if isinstance(named, Attack):
        return named
    return (find_text(named) if isinstance(named, str) else named).bind()


def _attacks(bound: tuple[Attack, ...] | None, threat: Threat) -> tuple[Attack, ...]:
    """The attacks that were asked for, each able to act; or all that can.

    Raises:
        BadPlan: one cannot act, or none can.
    """
    if bound is not None:
        for attack in bound:
            check(attack, threat)
        return bound
    found = able(text_suite(threat), threat)
    if not found:
        raise BadPlan(f"threat {threat.name!r}: no attack on texts can act under it; grant more access or allow more families of edits")
    return found
