"""What each doubt asks its reader to do, in one or two sentences. Needs nothing."""

from __future__ import annotations

ADVICE = {
    "one-step-beats-many-step": (
        "Stronger attacks should never do worse. Look for masked gradients: attack through a surrogate, or with scores only."
    ),
    "unbounded-attack-fails": (
        "With no limit every input should fall: the attacks are misled. Check the model's gradients and add attacks that need none."
    ),
    "more-steps-help": "The attacks had not finished. Give them more steps or restarts until the number stops moving.",
    "zero-gradients": (
        "Gradients vanish or are not numbers, so attacks that follow them walk blind. Declare a surrogate, or attack with scores or labels."
    ),
    "not-a-number": "The model answers with NaN or infinity for some inputs. Mend that first: no such row can be judged.",
    "not-deterministic": "The same input got different answers. Declare the target randomised, so that each success is asked again.",
    "batch-dependent": (
        "An answer depends on the other inputs of its batch. Put the model in evaluation mode and remove whatever mixes rows."
    ),
    "noise-beats-gradients": (
        "Blind noise did better than gradients, so the gradients mislead. Declare a surrogate, or attack with scores or labels."
    ),
    "wrong-normalisation": (
        "The model may not get the inputs it was made for, or the radius be in other units. Give inputs in [0, 1] and let the target normalise."
    ),
    "wrong-output-kind": "The outputs are not what they are declared to be. Say outputs = 'auto', or what they are.",
    "optimises-at-inference": (
        "The model optimises while it answers. Attack through that procedure, transfer from the model inside it, and attack with scores."
    ),
    "interrupted-graph": "A step on the way has no gradient. Put it into vauban.Preprocessed, which goes straight through it.",
    "quantised-input": "The answers are a staircase without gradient. Put the rounding into vauban.Preprocessed, which goes straight through it.",
    "finite-differences-disagree": "The gradient is not the slope of the answers. Find what replaces or cuts it, or attack with scores.",
    "noisy-loss-surface": (
        "The gradient says nothing about the next step. Take it from the mean over noise, take longer steps, or attack with scores."
    ),
    "too-few-draws": "Gradients differ too much between draws. Take them from an Expectation over as many draws as it says.",
    "loss-still-rising": "The longest attack was not finished. Give it more steps, or longer ones.",
    "curve-not-monotone": "With more room the attacks do worse. Shorten their steps, start at the clean input, and add a minimum-norm attack.",
    "silent-success": "The target answers otherwise where gradients are asked for, and hides successes. Make it answer both alike.",
    "stopped-by-rejection": (
        "The attack fooled the classes and not the refusal. Use the margin loss, and a surrogate in which the refusal has a gradient."
    ),
    "scores-beat-gradients": (
        "A search by scores did better than gradients, so the gradients mislead. Declare a surrogate, and keep the search in the campaign."
    ),
    "adaptive-weaker-than-oblivious": (
        "The stand-in for the defence gives worse gradients than ignoring the defence does. Give it a better one (a differentiable form of the step, "
        "more draws) before its number is believed."
    ),
    "transfer-beats-gradients": (
        "Gradients of another model did better than those that attacks were given. Give that model as the surrogate."
    ),
    "labels-beat-scores": (
        "Scores ought to help. These may mislead on purpose: judge by the attacks that see labels, and give those more questions."
    ),
    "access-not-used": (
        "The attacks knew less than the threat allows. Add attacks that ask for scores or labels, or state the weaker threat that was tried."
    ),
    "budget-too-small": "Each row allows too few questions for a single step. Give the attacker more, or state that it may only guess.",
    "too-few-rows": "The interval is wide because few rows were tried. Audit more rows.",
    "time-limit": "The campaign ran out of time. Give it longer, or read the number as a ceiling.",
    "unverified": "Some examples did not fool the model when asked again. Look for randomness, reduced precision or batch effects.",
}


def advice(name: str) -> str:
    """What to do about a doubt; where none is known, where to read about it."""
    return ADVICE.get(name, f"See {link(name)}.")


def link(name: str) -> str:
    """Where a doubt is explained: by a command, which everybody has who has a record to read."""
    return f"{name}: vauban list doubts"
