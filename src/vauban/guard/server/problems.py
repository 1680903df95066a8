"""What is told when there is no decision: problem+json (RFC 9457) from a closed list, the same bytes whatever the reason behind it."""

from __future__ import annotations

import json
import math

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from vauban.guard.refusal import Code, Refused

MEDIA = "application/problem+json"
MINUTE = 60


class Problem(BaseModel):
    """A request without a decision."""

    type: str = Field(description="What kind of refusal it is: one of a closed list.", json_schema_extra={"enum": [c.word for c in Code]})
    title: str = Field(description="The same for people.")
    status: int = Field(description="The HTTP status.")


BODIES = {
    code: json.dumps({"type": code.word, "title": code.sentence, "status": code.status}, separators=(",", ":")).encode() for code in Code
}


def problem(code: Code, retry_after: float | None = None) -> Response:
    """The answer for a refusal; how long to wait is told in whole minutes."""
    headers: dict[str, str] = {}
    if code is Code.LIMITED:
        headers["Retry-After"] = str(max(1, math.ceil((retry_after or 0) / MINUTE)) * MINUTE)
    if code is Code.UNAUTHORISED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(BODIES[code], code.status, headers, MEDIA)


async def refused(_: Request, error: Exception) -> Response:
    """For FastAPI: a refusal becomes its answer."""
    if isinstance(error, Refused):
        return problem(error.code, error.retry_after)
    return problem(Code.UNAVAILABLE)
