"""Remote targets: a classifier behind an HTTP endpoint.

`Http` asks it; the values beside it say how. httpx, jmespath, tenacity and aiolimiter are imported when the first of them is needed.
"""

from vauban.target.http.answer import Reply
from vauban.target.http.bill import Bill, Estimate
from vauban.target.http.settings import Answer, Authorisation, Budget, Cost, Probe, Rate, Request, Retry, Timeout
from vauban.target.http.target import Http, Steadiness

__all__ = [
    "Answer",
    "Authorisation",
    "Bill",
    "Budget",
    "Cost",
    "Estimate",
    "Http",
    "Probe",
    "Rate",
    "Reply",
    "Request",
    "Retry",
    "Steadiness",
    "Timeout",
]
