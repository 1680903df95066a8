"""Classes as people write them, by name or number, turned into indices."""

from __future__ import annotations

from collections.abc import Sequence

from vauban.errors import BadPlan, nearest


def class_index(said: int | str, classes: Sequence[str], what: str, count: int | None = None) -> int:
    """The index of a class.

    Args:
        said: its index, or its name among `classes`.
        classes: the names, in the order of the model's outputs.
        what: the key it was written under; errors begin with it.
        count: how many classes the model has, where that is known and more than are named.

    >>> class_index("live", ["spoof", "live"], "wanted"), class_index(0, ["spoof", "live"], "wanted")
    (1, 0)
    """
    if isinstance(said, str):
        if said in classes:
            return list(classes).index(said)
        raise BadPlan(f"{what} = {said!r} is not a class; {nearest(said, classes)}")
    most = max(len(classes), count or 0)
    if not 0 <= said < most:
        raise BadPlan(f"{what} = {said} is not a class; they are numbered 0 to {most - 1}")
    return said
