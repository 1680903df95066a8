"""The few terms a reader of the report needs. Plain values."""

from __future__ import annotations

GLOSSARY = (
    (
        "Robust accuracy",
        "The share of inputs that the model still answers correctly when an attacker does its worst within the stated limits.",
    ),
    ("Clean accuracy", "The share of inputs that the model answers correctly when nobody interferes."),
    ("Threat", "One attacker, stated before anything is measured: what it knows, what it wants, what it may change and what it may spend."),
    (
        "Access",
        "What the attacker sees: nothing, the answered class (label), a score for every class (score), or the model itself (gradient).",
    ),
    (
        "Adversarial example",
        "An input changed on purpose, within the limits of the threat, so that the model answers as the attacker wants.",
    ),
    ("eps", "The size of the largest change the threat allows, in the units of the inputs. 8/255 is 8 of the 255 steps of an 8-bit image."),
    (
        "Linf, L2, L1, L0",
        "Ways to measure a change: its largest single part, its Euclidean length, the sum of its parts, the number of parts changed. "
        "Parts are single values, so a colour pixel has three; where L0 is said in pixels, a pixel counts once.",
    ),
    (
        "Patch",
        "One rectangle of an image that the attacker places where it likes and fills as it likes, as a sticker would. The size of such a change is "
        "the longer side, in pixels, of the smallest rectangle of those proportions around all that changed.",
    ),
    ("95% interval", "The range that would contain the true share in 95 of 100 such measurements (Wilson). More rows make it narrower."),
    (
        "Forwards, backwards",
        "How often the model was run, and how often its gradient was taken, for each input attacked: the attacker's effort.",
    ),
    ("Cascade", "Attacks run one after another; each works only on the inputs that the ones before it could not break."),
    ("Doubt", "A sign that a number flatters the model, or cannot be trusted. A promise is never called kept while its number is doubted."),
    (
        "Holds, breached, inconclusive, unable",
        "A promise holds if its whole interval does and nothing casts doubt; it is breached if its whole interval "
        "is below; it is inconclusive when the rows cannot tell; and the audit is unable to judge it when nothing was measured.",
    ),
)
"""Terms and what they mean, in reading order."""
