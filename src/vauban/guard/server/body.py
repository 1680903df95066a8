"""The body of an attempt, counted as it comes: no length is believed, and nobody may take longer than the deadline."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from vauban.guard.refusal import Code, Refused

TYPES = ("image/jpeg", "image/png", "image/webp")


async def body_of(request: Request, most: int, seconds: float) -> bytes:
    """The bytes of a request.

    Args:
        most: how many there may be.
        seconds: how long they may take.

    Raises:
        Refused: TOO_LARGE, UNSUPPORTED, or BAD_REQUEST for one that is empty, slow or broken off.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise Refused(Code.UNSUPPORTED, f"content type {kind[:40]!r}")
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > most:
        raise Refused(Code.TOO_LARGE, f"a length of {told} was announced")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise Refused(Code.TOO_LARGE, f"more than {most} bytes came")
                parts.append(part)
    except (TimeoutError, ClientDisconnect) as error:
        raise Refused(Code.BAD_REQUEST, "the body came too slowly or broke off") from error
    if not size:
        raise Refused(Code.BAD_REQUEST, "no body")
    return b"".join(parts)
