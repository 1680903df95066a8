"""What an attacker's questions came to, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vauban.campaign.ledger import Ledger
from vauban.campaign.record import AttackResult
from vauban.report.numbers import percent

_FOR = {
    "initial": "to find a first success",
    "gradient": "to learn a direction",
    "step": "to try a step",
    "projection": "to come nearer to the boundary",
    "check": "to hand in a candidate",
}


def spent(book: Ledger) -> str:
    """What was asked, what for, what a success cost, and in how many identities.

    >>> from vauban.measure.rate import Rate
    >>> print(spent(Ledger(10, 900, {"step": 900}, 0, (100,), (Rate(5, 10),), 800, 90)).replace(". ", ".\\n"))
    900 questions about 10 inputs.
    A success cost 160 of them, failures paid for: 32 sessions of 5, or 16 device-days of 10.
    Half of the inputs had fallen after 90.
    """
    if not book.asked:
        return f"No question was asked about the {book.rows:,} inputs."
    kinds = {k: n for k, n in book.kinds.items() if n}
    parts = f" ({', '.join(f'{percent(n / book.asked, 0)} {_FOR.get(k, k)}' for k, n in kinds.items())})" if len(kinds) > 1 else ""
    lost = f" {book.refused:,} of them got no answer." if book.refused else ""
    shared = f" A surrogate was trained with {book.shared:,} more." if book.shared else ""
    return f"{book.asked:,} questions about {book.rows:,} inputs{parts}.{lost}{shared} {_price(book)} {_half(book)}"


def _price(book: Ledger) -> str:
    if math.isinf(book.price):
        return "They won nothing."
    sessions, days = (f"{book.identities(book.price, per):,}" for per in (book.session, book.day))
    cost = f"{book.price:,.0f} of them, failures paid for: {sessions} sessions of {book.session}, or {days} device-days of {book.day}"
    return f"A success cost {cost}."


def _half(book: Ledger) -> str:
    return "Fewer than half of the inputs fell." if book.median is None else f"Half of the inputs had fallen after {book.median:,}."


def rungs(attacks: Sequence[AttackResult]) -> list[tuple[str, int]]:
    """The rungs of the ladder in the order they were first climbed, with the rows that fell on each."""
    names = dict.fromkeys(a.rung for a in attacks if a.rung)
    return [(name, sum(a.broken for a in attacks if a.rung == name)) for name in names]
