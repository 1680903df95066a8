"""What the adversarial texts of a finding are worth: how much of each text still stands, and what a normaliser would have left of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vauban.measure.rate import Rate


@dataclass(frozen=True, slots=True)
class Validity:
    """The adversarial texts that broke rows under one threat.

    Attributes:
        edits: median number of edits.
        length: median length of the clean texts, in characters.
        unchanged: median share of a clean text's visible characters that stand as they were.
        alike: texts that look the same as the clean one: they have the same skeleton (NFKC, look-alikes folded, unseen characters taken out).
        normalised: texts that still fool the same target when it reads their skeletons. What attacks on the normalised target achieve is a
            finding of its own.
        families: how many edits of each kind, over all texts.
    """

    edits: float
    length: float
    unchanged: float
    alike: Rate
    normalised: Rate
    families: dict[str, int] = field(default_factory=dict[str, int])
