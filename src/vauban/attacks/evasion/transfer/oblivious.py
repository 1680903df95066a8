"""The attacker that does not know of the defence: what a defence's own evaluation is too often against."""

from contextlib import nullcontext

from vauban.attacks.parts.losses import LOSSES, LossName
from vauban.attacks.parts.starts import Start, start_of
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(
    Access.GRADIENT,
    on=("linf", "l2", "l1", "transformations"),
    paper="Carlini and Wagner 2017, arXiv:1705.07263, section 2.3 (zero-knowledge)",
)
def oblivious(
    o: Oracle, steps: Count = 40, step: Positive = 0.1, restarts: Count = 1, loss: LossName = "cross-entropy", start: Start = "uniform"
) -> None:
    """Projected gradient ascent on the model behind the defence, handed to the defended one; where there is no defence, on the target itself.

    What withstands it is the naive number of a defence, and an audit that knows the defence must not break less.
    """
    base = o.undefended
    for _ in o.restarts(restarts):
        s = o.rows(x=start_of(o, start))
        with nullcontext() if base is None else o.through(base):
            for _ in o.steps(steps):
                _, gradient = o.ascend(s.x, LOSSES[loss])
                s.x = o.project(s.x + o.steepest(gradient, s.x, step * o.eps))
        o.submit(s.x)
