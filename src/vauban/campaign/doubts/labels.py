"""The doubt about scores: an attacker that sees only labels does better than one that sees scores as well."""

from __future__ import annotations

from vauban.attacks import find
from vauban.campaign.doubts.probe import Probe, probe_of
from vauban.campaign.doubts.rivals import LEAST, LEVEL
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.measure import mcnemar
from vauban.threat import Access

SEARCH = {"linf": "rays", "l2": "hop-skip-jump"}
"""The search by labels, for each kind of perturbation."""
QUESTIONS = 1000


def labels_beat_scores(scene: Scene) -> Doubt | None:
    """A search by labels breaks rows that searches by scores could not, and not the other way round (scores that mislead on purpose: Chen et
    al. 2022, arXiv:2205.12134)."""
    probe, kind = probe_of(scene), scene.siege.threat.perturbation.kind
    by_label = [p for p, a in enumerate(scene.siege.attacks) if a.facts.access == Access.LABEL and not a.facts.baseline]
    by_score = [p for p, a in enumerate(scene.siege.attacks) if a.facts.access == Access.SCORE and not a.facts.baseline]
    if not by_score or not by_label or min(by_score) > max(by_label):
        return None
    only_labels = sum(scene.attacks[p].broken for p in by_label if p > min(by_score))
    tried = max((scene.attacks[p].tried for p in by_label if p > min(by_score)), default=0)
    if only_labels < LEAST:
        return None
    if not len(probe) or kind not in SEARCH:
        told = f"searches by labels broke {only_labels} of {tried} rows that searches by scores had left"
        return Doubt("labels-beat-scores", f"{told}: the scores may be manipulated") if 2 * only_labels > tried else None
    told = _compared(probe, kind)
    return None if told is None else Doubt("labels-beat-scores", f"{told}: the scores may be manipulated")


def _compared(probe: Probe, kind: str) -> str | None:
    """In words, that labels did significantly better on the same rows (exact McNemar); else None."""
    by_scores, by_labels = probe.fell_to(Access.SCORE), probe.fell_to(Access.LABEL)
    again = by_scores.nonzero()[:, 0]
    both = probe.broken(find(SEARCH[kind]).bind().spending(QUESTIONS), rows=again) if len(again) else by_scores[:0]
    alone, other = int(by_labels.sum()), int((~both).sum())
    if alone <= other or mcnemar(alone, other) >= LEVEL:
        return None
    return f"of {len(probe)} rows, searches by labels break {alone} that searches by scores do not, and {other} the other way round"
