"""Certificates of a whole campaign, threat by threat; a run that was killed goes on with the rows it has not settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vauban.campaign.certify.keep import Keep
from vauban.campaign.certify.proofs import Proof, Wanted, proof_of
from vauban.campaign.certify.results import Certificates, RowCertificate
from vauban.campaign.plan import Plan, Siege
from vauban.campaign.run.identity import identity
from vauban.campaign.run.survey import Ground, ask_clean, by_id
from vauban.data import Rows
from vauban.errors import BadData, Unsupported
from vauban.threat import Ball
from vauban.version import __version__


@dataclass(frozen=True, slots=True)
class Tick:
    """How far the certificates of a threat are: rows settled of all, and how many of them are certified; `done` of those in this session."""

    threat: str
    settled: int
    certified: int
    rows: int
    done: int


Progress = Callable[[Tick], None]


def _nobody(tick: Tick) -> None:
    pass


def certify_plan(
    plan: Plan, wanted: Wanted | None = None, *, root: Path | None = None, fresh: bool = False, progress: Progress = _nobody
) -> tuple[Certificates, ...]:
    """Prove what can be proven of every row of a plan, under every threat.

    Args:
        plan: the target, the data and the threats; its attacks do nothing here.
        wanted: how hard to try.
        root: where certificates are kept, and found again; None for nowhere.
        fresh: certify rows again that are kept already.

    Raises:
        BadPlan: smoothing cannot certify a threat's radius with these settings, or its noise destroys the model's accuracy.
        BadData, BadTarget: rows or a model that cannot be certified at all.
        BadRun: what is kept is damaged.
    """
    asked = wanted or Wanted()
    rows = by_id(plan.data)
    return tuple(_of_threat(plan, siege, rows, asked, root, fresh, progress) for siege in plan.sieges)


def _of_threat(plan: Plan, siege: Siege, rows: Rows, wanted: Wanted, root: Path | None, fresh: bool, progress: Progress) -> Certificates:
    threat = siege.threat
    eps = threat.perturbation.eps
    proof = proof_of(plan.target, threat, rows.shape, wanted, plan.seed)
    if isinstance(proof, str):
        return Certificates(threat.name, threat.perturbation.text(), eps, unable=proof)
    mine = _eligible(plan, siege, rows)
    if not len(mine):
        raise BadData(f"threat {threat.name!r}: no row is of a source class and classified correctly; there is nothing to certify")
    keep = None if root is None else Keep(root, threat.name, _about(plan, siege, proof, wanted))
    try:
        warnings = proof.warnings(mine)
        known = {} if keep is None else keep.begin(fresh=fresh)
        settled = _settled(proof, mine, known, keep, threat.name, progress)
    except Unsupported as error:
        return Certificates(threat.name, threat.perturbation.text(), eps, unable=str(error))
    finally:
        if keep is not None:
            keep.close()
    found = Certificates(
        threat.name, threat.perturbation.text(), eps, proof.method, proof.facts, proof.alpha, proof.radii, settled, warnings=warnings
    )
    if keep is not None:
        keep.finish(found)
    return found


def _settled(
    proof: Proof, rows: Rows, known: dict[int, RowCertificate], keep: Keep | None, threat: str, progress: Progress
) -> tuple[RowCertificate, ...]:
    """Every row's certificate, by id: those that are kept, and the others proven now."""
    ids: list[int] = rows.ids.tolist()
    found = {i: known[i] for i in ids if i in known}
    before = len(found)
    certified = sum(c.verdict == "certified" for c in found.values())
    progress(Tick(threat, before, certified, len(ids), 0))
    todo = rows.take(torch.tensor([i not in found for i in ids]))
    for certificate in proof.prove(todo) if len(todo) else ():
        if keep is not None:
            keep.add(certificate)
        found[certificate.row] = certificate
        certified += certificate.verdict == "certified"
        progress(Tick(threat, len(found), certified, len(ids), len(found) - before))
    return tuple(found[i] for i in ids)


def _eligible(plan: Plan, siege: Siege, rows: Rows) -> Rows:
    """The rows of the denominator: all of them, or under a goal with a wanted class those that can be attacked."""
    if siege.threat.goal.untargeted:
        return rows
    eligible, _ = Ground.of(rows, ask_clean(plan, rows)).denominator(siege.threat.goal)
    return rows.take(eligible.cpu())


def _about(plan: Plan, siege: Siege, proof: Proof, wanted: Wanted) -> dict[str, Any]:
    """All that the certificates of a threat depend on, besides the code of this version."""
    whole = identity(plan, keep_inputs=False)
    allowed = siege.threat.perturbation
    return {
        "vauban": __version__,
        "target": whole["target"],
        "data": whole["data"],
        "threat": asdict(allowed) if isinstance(allowed, Ball) else allowed.text(),
        "goal": asdict(siege.threat.goal),
        "method": proof.method,
        "facts": proof.facts,
        "radii": proof.radii,
        "wanted": asdict(wanted),
        "seed": plan.seed,
    }
