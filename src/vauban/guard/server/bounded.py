"""Bodies of backends, bounded before anything reads them: FastAPI takes in the whole of a body before it looks at the key."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 16384
"""Bytes of a request to open a session."""


class Bounded:
    """Refuses bodies that are longer or slower than they may be.

    Args:
        app: what it stands before.
        seconds: that a body may take.
        besides: a path whose bodies are bounded elsewhere.
    """

    def __init__(self, app: ASGIApp, seconds: float, besides: str) -> None:
        self.app, self.seconds, self.besides = app, seconds, besides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] == self.besides:
            return await self.app(scope, receive, send)
        end, size = asyncio.get_running_loop().time() + self.seconds, 0

        async def bounded() -> Message:
            nonlocal size
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(400) from error
            size += len(message.get("body", b""))
            if size > MOST:
                raise HTTPException(413)
            return message

        return await self.app(scope, bounded, send)
