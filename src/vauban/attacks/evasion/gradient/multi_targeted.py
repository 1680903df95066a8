"""One PGD for each wrong class, heading for that class alone."""

from vauban.attacks.parts.select import cosine
from vauban.attacks.parts.starts import Start, start_of
from vauban.attacks.parts.targets import ranked_targets, towards
from vauban.attacks.registry import Count, Positive, attack
from vauban.doors import Oracle
from vauban.threat import Access


@attack(Access.GRADIENT, on=("linf", "l2", "l1", "transformations"), paper="Gowal et al. 2019, arXiv:1910.09338, algorithm 1")
def multi_targeted(
    o: Oracle, steps: Count = 40, targets: Count = 9, restarts: Count = 1, step: Positive = 1.0, start: Start = "uniform"
) -> None:
    """PGD on z_t - z_y for each of the `targets` likeliest wrong classes t in turn, the whole round `restarts` times.

    The first step is `step` radii long, and they fall to a thousandth of that along a cosine. Only the direction of the gradient counts, so
    neither the scale of the scores nor a constant added to them matters. With two classes, or a wanted one, there is one target.
    """
    ranked = o.rows(classes=ranked_targets(o, targets))
    for _ in o.restarts(restarts):
        for k in range(ranked.classes.shape[1]):
            s = o.rows(x=start_of(o, start), target=ranked.classes[:, k])
            for i in o.steps(steps):
                _, gradient = o.ascend(s.x, towards(s.target))
                s.x = o.project(s.x + o.steepest(gradient, s.x, cosine(i, steps, step, step / 1000) * o.eps))
            o.submit(s.x)
