"""The door over strings: text target x threat x texts.

An attack is a generator over one `TextRow`, which asks with `yield from`; `TextOracle` plays it on all rows, with the accounts of the evasion
oracle. `Edits` (in `vauban.threat`) say what may be done to a text, a `Ruler` measures it, and `Normalised` is the defence that reads a text
as a person would see it.
"""

from vauban.doors.text.characters import HOMOGLYPHS, INVISIBLE, KEYBOARD, shown, skeleton
from vauban.doors.text.normalised import Normalised
from vauban.doors.text.oracle import TextOracle
from vauban.doors.text.row import Ask, Play, Player, Reply, TextRow
from vauban.doors.text.ruler import Ruler, Step
from vauban.doors.text.target import TextFunction, TextPipeline, TextTarget, as_text_target
from vauban.doors.text.torch_text import TextTorch
from vauban.doors.text.words import STOP_WORDS, Word, words

__all__ = [
    "HOMOGLYPHS",
    "INVISIBLE",
    "KEYBOARD",
    "STOP_WORDS",
    "Ask",
    "Normalised",
    "Play",
    "Player",
    "Reply",
    "Ruler",
    "Step",
    "TextFunction",
    "TextOracle",
    "TextPipeline",
    "TextRow",
    "TextTarget",
    "TextTorch",
    "Word",
    "as_text_target",
    "shown",
    "skeleton",
    "words",
]
