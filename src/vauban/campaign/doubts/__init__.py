"""Signs that a number flatters the target, each looked for after the attacks under a threat are done. A page each: docs/doubts.md."""

from vauban.campaign.doubts.answers import batch_dependent, not_a_number, not_deterministic, too_few_draws, wrong_output_kind
from vauban.campaign.doubts.defended import adaptive_weaker_than_oblivious
from vauban.campaign.doubts.evidence import access_not_used, budget_too_small, time_limit, too_few_rows, unverified
from vauban.campaign.doubts.gradients import finite_differences_disagree, interrupted_graph, noisy_loss_surface, zero_gradients
from vauban.campaign.doubts.inference import optimises_at_inference
from vauban.campaign.doubts.inputs import quantised_input, wrong_normalisation
from vauban.campaign.doubts.labels import labels_beat_scores
from vauban.campaign.doubts.rivals import noise_beats_gradients, one_step_beats_many_step, scores_beat_gradients, transfer_beats_gradients
from vauban.campaign.doubts.scene import Doubter, Scene
from vauban.campaign.doubts.strength import (
    curve_not_monotone,
    loss_still_rising,
    more_steps_help,
    silent_success,
    stopped_by_rejection,
    unbounded_attack_fails,
)

DOUBTERS: tuple[Doubter, ...] = (
    wrong_normalisation,
    wrong_output_kind,
    not_deterministic,
    batch_dependent,
    not_a_number,
    optimises_at_inference,
    interrupted_graph,
    zero_gradients,
    quantised_input,
    finite_differences_disagree,
    noisy_loss_surface,
    too_few_draws,
    one_step_beats_many_step,
    unbounded_attack_fails,
    loss_still_rising,
    more_steps_help,
    curve_not_monotone,
    silent_success,
    stopped_by_rejection,
    noise_beats_gradients,
    scores_beat_gradients,
    transfer_beats_gradients,
    adaptive_weaker_than_oblivious,
    labels_beat_scores,
    access_not_used,
    budget_too_small,
    too_few_rows,
    time_limit,
    unverified,
)
"""Every doubter, asked in order about every threat."""

__all__ = ["DOUBTERS", "Doubter", "Scene"]
