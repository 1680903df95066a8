"""A server that is told to stop a second time lets go of what it waits for: whoever asked still hears it in the words of the closed list."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vauban.guard.refusal import Code
from vauban.guard.server.problems import problem


class Stopped:
    """Answers requests that were cancelled; without it uvicorn would, in its own words.

    Args:
        app: what it stands before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the application, which ends as if it had been told to."""
        if scope["type"] == "lifespan":
            return await self.app(scope, _until_cancelled(receive), send)
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            if not answered:
                await problem(Code.UNAVAILABLE)(scope, receive, send)


def _until_cancelled(receive: Receive) -> Receive:
    async def received() -> Message:
        try:
            return await receive()
        except asyncio.CancelledError:
            return {"type": "lifespan.shutdown"}

    return received
