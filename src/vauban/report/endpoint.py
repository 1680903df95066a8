"""What an endpoint cost, in words."""

from __future__ import annotations

from vauban.campaign.bill import EndpointBill
from vauban.report.numbers import percent, time


def billed(bill: EndpointBill) -> str:
    """What was sent, what became of it, what it cost, how steady the answers were, and who allowed it.

    >>> counts = 900, 910, 900, 880, 20, 0, 1, 2_500_000, 90_000
    >>> bill = EndpointBill("a.example/x", "Ours; OPS-1.", ("a.example",), *counts, 65.0, 200.0, 0.18, "EUR", 8)
    >>> print(billed(bill).replace(". ", ".\\n"))
    a.example/x got 900 requests, 10 of them sent again, 1 lost on the way.
    880 questions were answered, 20 refused, 0 failed.
    2.5 MB were sent and 90.0 kB received, in 1 min 5 s, for 0.18 EUR.
    8 repeated questions got the same answer.
    Allowed: "Ours; OPS-1.", for a.example.
    """
    parts = [_sent(bill), f"{bill.answered:,} questions were answered, {bill.refused:,} refused, {bill.failed:,} failed."]
    money = f", for {bill.money:,.2f} {bill.unit}".rstrip() if bill.money else ""
    parts.append(f"{size(bill.sent)} were sent and {size(bill.received)} received, in {time(bill.seconds)}{money}.")
    parts += [_steady(bill)] if bill.repeated else []
    return " ".join([*parts, f'Allowed: "{bill.statement}", for {", ".join(bill.hosts)}.'])


def size(count: float) -> str:
    """A number of bytes.

    >>> size(999), size(1_234_000), size(5e12)
    ('999 bytes', '1.2 MB', '5.0 TB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _sent(bill: EndpointBill) -> str:
    again = bill.attempts - bill.requests
    tried = f", {again:,} of them sent again" if again else ""
    lost = f", {bill.lost:,} lost on the way" if bill.lost else ""
    return f"{bill.name} got {bill.requests:,} requests{tried}{lost}."


def _steady(bill: EndpointBill) -> str:
    if not bill.moved:
        return f"{bill.repeated:,} repeated questions got the same answer."
    flips, moved = percent(bill.flips, 0), percent(bill.moved, 0)
    return f"Of {bill.repeated:,} repeated questions {flips} got another class, and {moved} another answer in some digit."
