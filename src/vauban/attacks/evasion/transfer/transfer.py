"""Momentum and its companions: one ascent whose direction is put together from views, neighbours, blur and memory, under the names of the field."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.memory import unit_mean
from vauban.attacks.parts.views import Lens, blurred
from vauban.attacks.registry import Count, Natural, Share, attack, preset
from vauban.doors import Loss, Oracle
from vauban.errors import BadPlan
from vauban.target import Viewed
from vauban.threat import Access

MI = "Dong et al. 2018, arXiv:1710.06081, algorithm 1"
NI = "Lin et al. 2020, arXiv:1908.06281, section 3.1"
SPREAD = 1.5
"""How far the neighbours of variance tuning lie, in radii."""


@attack(Access.GRADIENT, on=("linf", "l2"), paper="Dong et al. 2018, arXiv:1710.06081; Wang and He 2021, arXiv:2103.15571; Lin et al. 2020")
def transfer(
    o: Oracle,
    steps: Count = 10,
    decay: Natural = 1.0,
    look_ahead: bool = True,
    scales: Count = 3,
    diversity: Share = 0.5,
    spectra: int = 0,
    mixed: int = 0,
    neighbours: int = 0,
    kernel: int = 0,
    loss: LossName = "cross-entropy",
) -> None:
    """An ascent with momentum on views of the input, for examples that fool other models than the one it climbs.

    Every direction is the mean over `scales` copies x / 2^i (SI), each mixed with `mixed` inputs of the attacker's own (Admix), in `spectra` draws
    of its spectrum (SSA), resized and padded with the chance `diversity` (DI; images); to it comes what the gradient lacked of the mean over
    `neighbours` points around the last one (VMI); it is smoothed over `kernel` pixels (TI), and kept in mind with the weight `decay` (MI). With
    `look_ahead` it is taken where that memory is about to lead (NI). The end of it is handed in: one question.
    """
    lens = _lens(o, scales, mixed, spectra, diversity)
    s = o.rows(x=o.x, memory=torch.zeros_like(o.x), variance=torch.zeros_like(o.x))
    size, up = o.eps / steps, LOSSES[loss]
    for _ in o.steps(steps):
        at = o.project(s.x + size * decay * s.memory) if look_ahead else s.x
        gradient = seen_through(o, lens, at, up)
        direction = gradient + s.variance
        if neighbours:
            s.variance = _around(o, lens, at, up, neighbours) - gradient
        if kernel:
            direction = blurred(direction, kernel)
        s.memory = decay * s.memory + unit_mean(direction)
        s.x = o.project(s.x + o.steepest(s.memory, s.x, size))
    o.submit(s.x)


def seen_through(o: Oracle, lens: Lens, at: Tensor, loss: Loss) -> Tensor:
    """The mean over the views of the gradient of an objective at the points `at` (n, *shape)."""
    total, count = torch.zeros_like(at), 0
    for view in lens.views():
        count += 1
        if view is None or o.surrogate is None:
            total += o.ascend(at, loss)[1]
        else:
            with o.through(Viewed(o.surrogate, view)):
                total += o.ascend(at, loss)[1]
    return total / count


def _around(o: Oracle, lens: Lens, at: Tensor, loss: Loss, neighbours: int) -> Tensor:
    """The mean gradient at random points around `at`."""
    total = torch.zeros_like(at)
    for _ in range(neighbours):
        away = o.noise.uniform(*at.shape[1:]).to(at).mul_(2).sub_(1).mul_(SPREAD * o.eps)
        total += seen_through(o, lens, (at + away).clamp(*o.limits), loss)
    return total / neighbours


def _lens(o: Oracle, scales: int, mixed: int, spectra: int, diversity: float) -> Lens:
    """The views that the settings ask for; inputs without neighbours are never resized."""
    if mixed and o.samples is None:
        raise BadPlan(f"threat {o.threat.name!r}: mixing in other inputs needs some of the attacker's own; give samples")
    others = tuple(o.samples[0][:mixed]) if o.samples is not None and mixed else ()
    return Lens(scales, others, spectra=spectra, size=o.eps if spectra else 0.0, diversity=diversity if o.x.ndim == 4 else 0.0)


ALL = ("linf", "l2", "transformations")
plain = partial(preset, of=transfer, look_ahead=False, scales=1, diversity=0.0)
mi_fgsm = plain("mi-fgsm", "Iterated FGSM with momentum.", paper=MI, on=ALL)
ni_fgsm = plain("ni-fgsm", "MI-FGSM with Nesterov's look-ahead.", paper=NI, on=ALL, look_ahead=True)
di_fgsm = plain(
    "di-fgsm", "MI-FGSM on images resized and padded at random.", paper="Xie et al. 2019, arXiv:1803.06978", images=True, diversity=0.5
)
ti_fgsm = plain(
    "ti-fgsm",
    "MI-FGSM with gradients smoothed over neighbouring pixels.",
    paper="Dong et al. 2019, arXiv:1904.02884",
    images=True,
    kernel=7,
)
si_fgsm = plain(
    "si-fgsm", "NI-FGSM on copies of the input at several scales.", paper="Lin et al. 2020, arXiv:1908.06281", look_ahead=True, scales=5
)
vmi_fgsm = plain(
    "vmi-fgsm", "MI-FGSM with gradients corrected by those of its neighbours.", paper="Wang and He 2021, arXiv:2103.15571", neighbours=20
)
vni_fgsm = plain(
    "vni-fgsm",
    "NI-FGSM with gradients corrected by those of its neighbours.",
    paper="Wang and He 2021, arXiv:2103.15571",
    look_ahead=True,
    neighbours=20,
)
admix = plain(
    "admix",
    "MI-FGSM on inputs that others are mixed into, at several scales.",
    paper="Wang et al. 2021, arXiv:2102.00436",
    samples=True,
    scales=5,
    mixed=3,
)
ssa = plain("ssa", "MI-FGSM on draws of the input's spectrum.", paper="Long et al. 2022, arXiv:2207.05382, algorithm 1", spectra=20)
