"""Signs that a number flatters the target, each looked for after the attacks under a threat are done. A page each: docs/doubts.md."""

from vauban.campaign.doubts.evidence import access_not_used, time_limit, too_few_rows, unverified
from vauban.campaign.doubts.model import batch_dependent, not_a_number, not_deterministic, zero_gradients
from vauban.campaign.doubts.scene import Doubter, Scene
from vauban.campaign.doubts.strength import more_steps_help, noise_beats_gradients, one_step_beats_many_step, unbounded_attack_fails

DOUBTERS: tuple[Doubter, ...] = (
    one_step_beats_many_step,
    unbounded_attack_fails,
    more_steps_help,
    zero_gradients,
    noise_beats_gradients,
    not_deterministic,
    batch_dependent,
    not_a_number,
    access_not_used,
    too_few_rows,
    time_limit,
    unverified,
)
"""Every doubter, asked in order about every threat."""

__all__ = ["DOUBTERS", "Doubter", "Scene"]
