"""Characters without width put in at random places: what costs an attacker nothing to try."""

from __future__ import annotations

from vauban.attacks.registry import Count
from vauban.attacks.text.operators import INVISIBLE
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow
from vauban.threat import Access


@text_attack(Access.NONE, families=("invisible",), baseline=True, paper="Unicode Technical Report 36, section 3")
def invisible(row: TextRow, tries: Count = 8) -> Play:
    """Hand in texts with characters without width inside random words, first in few places and at last in as many as are allowed."""
    gaps = [i for i in row.gaps if 0 < i < len(row.clean) and row.clean[i - 1].isalnum() and row.clean[i].isalnum()]
    for t in range(tries):
        order = row.noise.uniform(max(len(gaps), 1))[0].argsort().tolist()
        count = max(round(min(row.most, len(gaps)) * (t + 1) / tries), 1)
        places = {gaps[k] for k in order[:count] if k < len(gaps)}
        c = INVISIBLE[t % len(INVISIBLE)]
        if places:
            yield from row.submit(["".join((c if i in places else "") + letter for i, letter in enumerate(row.clean))])
