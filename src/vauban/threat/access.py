"""What one question to the target may reveal."""

from __future__ import annotations

from enum import IntEnum

from vauban.errors import BadPlan, nearest


class Access(IntEnum):
    """What the attacker sees of the target; each level includes the ones before it.

    >>> Access.LABEL < Access.GRADIENT
    True
    >>> Access.parse("score")
    <Access.SCORE: 2>
    """

    NONE = 0
    """Nothing: the attacker submits inputs and learns nothing from the answers."""
    LABEL = 1
    """The predicted class."""
    SCORE = 2
    """A score for every class."""
    GRADIENT = 3
    """The model itself: scores and their gradients."""

    @classmethod
    def parse(cls, word: str | Access) -> Access:
        """Read a level from its name; raises `BadPlan` with the nearest names."""
        if isinstance(word, Access):
            return word
        names = {a.name.lower(): a for a in cls}
        if word.lower() not in names:
            raise BadPlan(f"access = {word!r} is not a level of access; {nearest(word, names)}")
        return names[word.lower()]
