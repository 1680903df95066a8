"""The cells of a matrix: one audit each, kept by what it is of, so that nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vauban.attacks import Attack
from vauban.attacks.suites import can_ask
from vauban.campaign.matrix.result import Hit, Stand, fell
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.record import Finding, Record, write_atomically
from vauban.campaign.run import Progress, audit_plan
from vauban.campaign.run.folder import open_run
from vauban.campaign.run.identity import identity, plan_sha256
from vauban.errors import BadPlan
from vauban.measure.rate import Rate
from vauban.target import Own, Surrogate, Target, default_surrogate
from vauban.target.around import Bare
from vauban.threat import Access, Threat

Tell = Callable[[str], None]


class Cells:
    """Audits under the folder of a matrix.

    Args:
        folder: `parts/` of it keeps the records of single attacks by the hash of everything they depend on, `runs/` the audits of whole lines.
        tell: told what is measured before it is.
        progress: told what happens in the audits of whole lines.
    """

    def __init__(self, folder: Path, tell: Tell, progress: Progress) -> None:
        self.folder, self.tell, self.progress = folder, tell, progress

    def stand(
        self, label: str, plan: Plan, siege: Siege, attacks: tuple[Attack, ...], queries: int, bare: Target | None
    ) -> tuple[Stand, Rate]:
        """One line under one threat, the whole suite and every attack alone; and its clean accuracy.

        Args:
            bare: what a naive attacker takes gradients from; None for the undefended line itself.
        """
        self.tell(f"{label}, {siege.threat.name}: every attack in turn")
        whole, report = self._whole(replace(plan, sieges=(siege,), title=f"{label}: {siege.threat.name}"))
        found = whole[siege.threat.name]
        hits: list[Hit] = []
        for attack in attacks:
            hit = self._hit(label, plan, siege, attack, queries, bare)
            if hit is not None:
                hits.append(hit)
        held = tuple(found.standing().values())
        return Stand(found.name, found.robust, found.naive, found.certified, tuple(hits), found.doubts, held, report), found.clean

    def _whole(self, plan: Plan) -> tuple[Record, str]:
        run = open_run(plan, self.folder / "runs", fresh=False, keep_inputs=plan.keep_inputs)
        record = audit_plan(plan, folder=run, progress=self.progress, command="vauban matrix")
        return record, f"{run.path.relative_to(self.folder).as_posix()}/report.html"

    def _hit(self, label: str, plan: Plan, siege: Siege, attack: Attack, queries: int, bare: Target | None) -> Hit | None:
        threat = seen_by(attack, siege.threat, queries)
        if threat is None or not fits(attack, threat, plan.data.shape) or not can_ask(attack, threat, threat.access):
            return None
        if threat.access > plan.target.access:
            return None
        self.tell(f"{label}, {siege.threat.name}: {attack.name}")
        adaptive = self._alone(plan, Siege(threat, (attack,), curve=False, samples=siege.samples))
        naive = None
        if bare is not None and attack.facts.access >= Access.GRADIENT:
            model = blind(bare, plan.target)
            blindly = replace(threat, access=Access.NONE)
            naive = None if model is None else self._alone(plan, Siege(blindly, (attack,), curve=False, surrogate=model))
        if naive is not None and naive.clean.hits and not any(a.most for a in naive.attacks):
            naive = None  # it handed nothing in where there was something to attack; that nothing fell would be the number of no attack
        return Hit(attack.name, fell(adaptive.robust), None if naive is None else fell(naive.robust))

    def timed(self, plan: Plan, measure: Callable[[], float]) -> float:
        """A time that is measured once for a line, so that going on changes no number."""
        file = self.folder / "parts" / f"{plan_sha256(identity(plan, keep_inputs=False))}.cost.json"
        if file.is_file():
            return float(json.loads(file.read_bytes()))
        found = measure()
        write_atomically(file, json.dumps(found))
        return found

    def _alone(self, plan: Plan, siege: Siege) -> Finding:
        """One attack on fresh ground; what was measured before is read."""
        alone = replace(plan, sieges=(siege,), promises=(), keep_inputs=False)
        key = plan_sha256(identity(alone, keep_inputs=False))
        file = self.folder / "parts" / f"{key}.json"
        if file.is_file():
            return Record.read(file)[siege.threat.name]
        record = audit_plan(alone, doubters=())
        record.write(file)
        return record[siege.threat.name]


def seen_by(attack: Attack, threat: Threat, queries: int) -> Threat | None:
    """The threat with no more access than an attack needs, and so many questions where it needs answers; None where it grants less."""
    need = attack.facts.access
    if need > threat.access:
        return None
    if need >= Access.GRADIENT:
        return threat
    return replace(threat, access=need, queries=min(threat.queries, queries) if need > Access.NONE else threat.queries)


def fits(attack: Attack, threat: Threat, shape: tuple[int, ...]) -> bool:
    """Whether an attack can act under a threat at all."""
    try:
        attack.check(threat, shape=shape)
    except BadPlan:
        return False
    return True


def blind(bare: Target, defended: Target) -> Surrogate | None:
    """The undefended model as a surrogate of the attacker's own: examples are made on it and handed in."""
    model = default_surrogate(bare)
    if model is None:
        return None
    return Own(Bare(model, defended.reject if bare.reject != defended.reject else None))
