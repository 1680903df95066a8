"""Randomised targets: a candidate is asked again with fresh draws of its row, and one lucky draw settles nothing."""

from __future__ import annotations

import pytest
import torch
from spine import Noisy, attacking, siege

from vauban.doors import Oracle
from vauban.noise import RowNoise
from vauban.target import Expectation, Torch
from vauban.threat import Access, Ball, Goal

N = 400


def lucky(p: float, n: int = N, **options: object) -> Oracle:
    """A target that is never fooled at the clean inputs (0) and with chance p wherever they were moved."""
    x, y = torch.zeros(n, 1), torch.zeros(n, dtype=torch.long)
    return siege(
        Noisy(lambda v: (v[:, 0] > 0) * p), Ball(0.5), x=x, y=y, threat={"access": Access.LABEL, **options.pop("threat", {})}, **options
    )  # type: ignore[dict-item]


def test_a_lucky_draw_settles_nothing() -> None:
    o = lucky(0.1)
    for _ in range(10):
        o.fooled(o.x + 0.5)
    assert int(o.outcome.broken.sum()) <= 4, "0.1 has a majority of 9 draws once in a thousand"


def test_a_sure_winner_is_kept_with_its_share() -> None:
    o = lucky(0.9)
    for _ in range(4):
        o.fooled(o.x + 0.5)
    r = o.outcome
    assert r.broken.float().mean() > 0.98
    share = r.share[r.broken]
    assert (share > 0.5).all()
    assert abs(float(share.mean()) - 0.9) < 0.03


def test_the_majority_is_that_of_the_confirming_draws() -> None:
    """With p = 0.5 a first win is confirmed by a majority of 9 with chance 1/2: 0.5 x 0.5 of all rows at the first question."""
    o = lucky(0.5, n=4000)
    won = o.fooled(o.x + 0.5)
    assert abs(float(won.float().mean()) - 0.25) < 0.03
    assert torch.equal(won, o.outcome.broken)


def test_confirmations_are_the_referees_and_not_charged() -> None:
    o = lucky(1.0, n=5)
    before = o.target.asked  # type: ignore[attr-defined]
    assert o.fooled(o.x + 0.5).all()
    assert o.target.asked - before == 5 + 9 * 5  # type: ignore[attr-defined]
    assert (o.outcome.queries == 1).all()


def test_randomised_verdicts_do_not_depend_on_batch_order_or_chunk() -> None:
    def run(ids: list[int], max_rows: int) -> dict[int, tuple[bool, int, float]]:
        o = lucky(0.6, n=len(ids), ids=torch.tensor(ids), max_rows=max_rows)
        with attacking(o, Access.LABEL):
            s = o.rows(x=o.x)
            for _ in o.steps(3):
                o.fooled(torch.stack([s.x + 0.5, s.x + 0.4]))
        r = o.outcome
        return {i: (bool(b), int(f), float(d)) for i, b, f, d in zip(ids, r.broken, r.first, r.distance, strict=True)}

    whole = run(list(range(12)), 100)
    assert len({v[1] for v in whole.values()}) > 2, "rows fare differently"
    assert run(list(range(11, -1, -1)), 5) == whole
    assert {k: v for i in range(12) for k, v in run([i], 1).items()} == whole


def test_each_question_has_a_draw_of_its_own() -> None:
    """Also of a stand-in that divides its draw among its parts."""
    seen: list[float] = []

    class Jitter(Torch):
        randomised = True

        def smooth(self, x: torch.Tensor, draw: RowNoise | None = None) -> torch.Tensor:
            assert draw is not None
            seen.extend(draw.uniform(1)[:, 0].tolist())
            return super().smooth(x)

    from worlds import Halfspace

    target = Jitter(Halfspace(), outputs="logits")
    o = siege(target, Ball(0.01), surrogate=Expectation(target, draws=3))
    with attacking(o):
        for _ in o.steps(2):
            o.ascend(o.x)
        o.ascend(torch.stack([o.x, o.x]))
    assert len(seen) == 5 * 3 * 4
    assert len(set(seen)) == len(seen)


def test_an_inner_loop_of_a_randomised_target_has_noise_from_the_start() -> None:
    """Training asks no clean answers, but how many classes there are."""
    o = lucky(0.5, n=3, settle="worst", threat={"goal": Goal()})
    o.submit(o.x + 0.1)
    assert torch.allclose(o.outcome.best, torch.full((3, 1), 0.1))


@pytest.mark.parametrize("seed", [0, 1])
def test_seeds_change_the_draws(seed: int) -> None:
    a, b = lucky(0.5, seed=seed), lucky(0.5, seed=seed)
    c = lucky(0.5, seed=seed + 2)
    won = [o.fooled(o.x + 0.5) for o in (a, b, c)]
    assert torch.equal(won[0], won[1])
    assert not torch.equal(won[0], won[2])
