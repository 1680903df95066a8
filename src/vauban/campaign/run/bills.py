"""The bills of the endpoints of a campaign, in plain values."""

from __future__ import annotations

from vauban.campaign.bill import EndpointBill
from vauban.campaign.plan import Plan
from vauban.campaign.run.verify import parts_of
from vauban.target import Http


def bills_of(plan: Plan) -> tuple[EndpointBill, ...]:
    """What each endpoint in the target has cost so far; none where there is no endpoint."""
    if not plan.target.metered:
        return ()
    return tuple(_bill(part) for part in parts_of(plan.target) if isinstance(part, Http))


def _bill(endpoint: Http) -> EndpointBill:
    allowed, bill, seen = endpoint.authorisation, endpoint.bill, endpoint.steadiness
    return EndpointBill(
        endpoint.name,
        allowed.statement,
        allowed.allowed_hosts,
        bill.requests,
        bill.attempts,
        bill.rows,
        bill.answered,
        bill.refused,
        bill.failed,
        bill.lost,
        bill.sent,
        bill.received,
        bill.asking,
        bill.latency,
        bill.money,
        bill.unit,
        0 if seen is None else seen.rows * (seen.repeats - 1),
        0.0 if seen is None else seen.flips,
        0.0 if seen is None else seen.moved,
    )
