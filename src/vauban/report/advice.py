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
    "access-not-used": (
        "The attacks knew less than the threat allows. Add attacks that ask for scores or labels, or state the weaker threat that was tried."
    ),
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
