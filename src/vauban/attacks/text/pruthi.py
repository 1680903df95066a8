"""The typing errors of Pruthi, Dhingra and Lipton: a letter inside one or two words, all of them tried."""

from __future__ import annotations

from vauban.attacks.registry import Count
from vauban.attacks.text.operators import OPERATORS, rewritten
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import STOP_WORDS, Play, TextRow, Word
from vauban.threat import Access

KINDS = ("swap", "delete", "keyboard", "insert")
SHORTEST = 4
"""Letters of the shortest word that is touched."""


@text_attack(Access.LABEL, families=KINDS, paper="Pruthi et al. 2019, arXiv:1905.11268")
def pruthi(row: TextRow, words: Count = 2, beam: Count = 1) -> Play:
    """Try every inner-letter swap, deletion, keyboard slip and insertion in one word, then in a second on top of the best.

    First and last letters stay, and so do words of three letters and stop words (section 4.1). Where scores are shown, the next word is sought
    beside the best `beam` texts; where only labels are, beside the texts tried first.

    Args:
        words: how many words are misspelt at most.
        beam: texts that are kept from one word to the next.
    """
    scored = row.shows(Access.SCORE)
    kept: list[dict[Word, str]] = [{}]
    for _ in range(words):
        tried = [{**before, w: slip} for before in kept for w in targets(row) if w not in before for slip in slips(row, w)]
        tried = [c for c in tried if row.legal(rewritten(row.clean, c), made_of=len(c))]
        texts = [rewritten(row.clean, c) for c in tried]
        if scored:
            values = yield from row.score(texts)
            order = sorted(range(len(tried)), key=lambda i: -values[i])
        else:
            yield from row.fooled(texts)
            order = list(range(len(tried)))
        kept = [tried[i] for i in order[:beam]]


def targets(row: TextRow) -> list[Word]:
    """The words that may be misspelt."""
    return [w for w in row.words if len(w.text) >= SHORTEST and w.text.lower() not in STOP_WORDS]


def slips(row: TextRow, word: Word) -> list[str]:
    """Every text that one error inside a word makes of it."""
    w, last = word.text, len(word.text) - 1
    found: list[str] = []
    for kind in KINDS:
        places = range(1, last - 1) if kind == "swap" else range(1, last + (kind == "insert"))
        if row.may(kind):
            found += [slip for i in places for slip in OPERATORS[kind](w, i) if " " not in slip]
    return list(dict.fromkeys(found))
