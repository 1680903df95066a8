"""Letters changed for look-alikes at random places: what costs an attacker nothing to try."""

from __future__ import annotations

from vauban.attacks.registry import Count
from vauban.attacks.text.operators import HOMOGLYPHS
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow
from vauban.threat import Access


@text_attack(Access.NONE, families=("homoglyph",), baseline=True, paper="Unicode Technical Standard 39, section 4")
def homoglyphs(row: TextRow, tries: Count = 8) -> Play:
    """Hand in texts with random letters changed for their look-alikes, first in few places and at last in as many as are allowed."""
    letters = [i for i in row.places if row.clean[i] in HOMOGLYPHS]
    for t in range(tries):
        order = row.noise.uniform(max(len(letters), 1))[0].argsort().tolist()
        count = max(round(min(row.most, len(letters)) * (t + 1) / tries), 1)
        places = {letters[k] for k in order[:count] if k < len(letters)}
        if places:
            yield from row.submit(["".join(HOMOGLYPHS[c][0] if i in places else c for i, c in enumerate(row.clean))])
