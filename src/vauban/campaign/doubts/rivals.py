"""Doubts by comparison: attacks that know less, or look elsewhere, and do better than gradients on the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vauban.attacks import Attack, find
from vauban.campaign.doubts.probe import SHORT, Probe, once, probe_of
from vauban.campaign.doubts.scene import Scene
from vauban.campaign.record import Doubt
from vauban.measure import mcnemar
from vauban.target import Surrogate, Target, Torch, default_surrogate
from vauban.target.around import worn_by
from vauban.threat import Access

LEVEL = 0.05
LEAST = 6
"""Rows on one side alone that the exact McNemar test needs at 5%."""
SEARCH, QUESTIONS = "square", 100
"""Questions of a search by scores on each row: few for a search, and enough where gradients are broken."""


def one_step_beats_many_step(scene: Scene) -> Doubt | None:
    """One step along the gradient breaks more than many steps do (Athalye et al. 2018, section 3.1)."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    told = beaten(probe, probe.one_step.broken, "one gradient step", torch.zeros(len(probe), dtype=torch.bool))
    return None if told is None else Doubt("one-step-beats-many-step", f"{told}: gradients may be masked")


def noise_beats_gradients(scene: Scene) -> Doubt | None:
    """Random noise breaks more than gradients do (Athalye et al. 2018, section 3.1)."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    told = beaten(probe, probe.by_noise, "random noise", probe.fell_to(Access.GRADIENT))
    return None if told is None else Doubt("noise-beats-gradients", f"{told}: gradients mislead")


def scores_beat_gradients(scene: Scene) -> Doubt | None:
    """A search that asks for scores or labels alone breaks more than gradients do (Carlini et al. 2019; Croce and Hein 2020)."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    fell = _by_search(probe)
    told = None if fell is None else beaten(probe, fell, "a search by scores alone", probe.fell_to(Access.GRADIENT))
    return None if told is None else Doubt("scores-beat-gradients", f"{told}: gradients mislead")


def _by_search(probe: Probe) -> Tensor | None:
    """Rows that a search breaks: of those that withstood gradients, what the campaign's own broke or else a short one; then of the others.

    None where the first are already too few to tell.
    """
    if probe.siege.threat.perturbation.kind not in find(SEARCH).facts.on or probe.plan.target.access < Access.SCORE:
        return None
    search, blind = find(SEARCH).bind(queries=QUESTIONS), (Access.SCORE, Access.LABEL)
    searched = any(a.facts.access in blind for a in probe.siege.attacks)
    fell = probe.fell_to(*blind) if searched else _on(probe, search, probe.survivors)
    if int(_alone(probe, fell, probe.fell_to(Access.GRADIENT)).sum()) < LEAST:
        return None
    return fell | _on(probe, search, (~fell).nonzero()[:, 0])


def _on(probe: Probe, attack: Attack, rows: Tensor, surrogate: Surrogate | None = None) -> Tensor:
    """Which rows of the sample an attack breaks that is run on some of them, bool (n,)."""
    fell = torch.zeros(len(probe), dtype=torch.bool)
    if len(rows):
        fell[rows] = probe.broken(attack, rows=rows, surrogate=surrogate)
    return fell


def transfer_beats_gradients(scene: Scene) -> Doubt | None:
    """Gradients of another model (a surrogate of the campaign, the model inside the defence) break more than those attacks were given."""
    probe = probe_of(scene)
    if not probe.has_gradient:
        return None
    known, short = probe.fell_to(Access.GRADIENT), once(probe.many_steps, SHORT)
    for name, base in _bases(probe):
        fell = _on(probe, short, probe.survivors, base)
        if int(_alone(probe, fell, known).sum()) < LEAST:
            continue
        fell |= _on(probe, short, (~fell).nonzero()[:, 0], base)
        told = beaten(probe, fell, f"{short.name} along the gradients of {name}", known)
        if told is not None:
            return Doubt("transfer-beats-gradients", f"{told}: the gradients that attacks were given mislead")
    return None


def _bases(probe: Probe) -> Iterator[tuple[str, Surrogate]]:
    """Other models that gradients could be taken of: those of the campaign's other threats, targets and modules inside the target."""
    given = probe.siege.surrogate
    for siege in probe.plan.sieges:
        if siege.surrogate is not None and siege.surrogate is not given:
            yield f"the surrogate of threat {siege.threat.name!r}", siege.surrogate
    if given is not None:
        return
    target = probe.plan.target
    for value in () if worn_by(target) else vars(target).values():  # of a defence, the oblivious attack has tried it
        inner = default_surrogate(value) if isinstance(value, Target) else None
        if inner is not None and inner is not probe.surrogate:
            yield "the model behind the defence", inner
    if isinstance(target, Torch):
        for name, module in _classifiers(target, probe.x[:2].to(target.device)):
            yield f"its inner model {name!r}", Torch(module, outputs="logits", reject=target.reject)


def _classifiers(target: Torch, x: Tensor) -> list[tuple[str, nn.Module]]:
    """Modules inside a model that take what it takes and answer in as many classes, by the shapes seen in one pass."""
    found: list[tuple[str, nn.Module]] = []
    classes = target.scores(x).shape[1]

    def look(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, args: tuple[object, ...], answer: object) -> None:
            given = args[0] if args else None
            if isinstance(given, Tensor) and isinstance(answer, Tensor) and given.shape == x.shape and answer.shape == (len(x), classes):
                found.append((name, module))

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for name, module in target.model.named_modules():
            if name:
                look(name, module)
        target.scores(x)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict(found).items())


def beaten(probe: Probe, weak: Tensor, name: str, known: Tensor) -> str | None:
    """In words, that a weaker attack did significantly better than gradients on the same rows (exact McNemar); else None.

    `weak`, bool (n,), fell to it; `known` are known to fall to gradients. The many-step attack is asked for no more than it takes to tell.
    """
    only_weak = int(_alone(probe, weak, known).sum())
    if only_weak < LEAST:
        return None
    only_strong = int(((known | probe.to_many_steps(~known)) & ~weak).sum())
    if only_weak <= only_strong or mcnemar(only_weak, only_strong) >= LEVEL:
        return None
    return f"of {len(probe)} rows, {name} breaks {only_weak} that gradients ({probe.many_steps.name}) do not, and {only_strong} the other way round"


def _alone(probe: Probe, weak: Tensor, known: Tensor) -> Tensor:
    """Of the rows that fell to a weaker attack, those that gradients do not break."""
    weak = weak & ~known
    return weak & ~probe.to_many_steps(weak)
