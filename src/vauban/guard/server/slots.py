"""Answers that leave when the clock says so: how long the work took is told to nobody."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute


class Slots:
    """Time slots of equal length, counted for each request from when it had come.

    All times are the event loop's own: it wakes at the whole milliseconds of its clock, and by another clock what is left over
    would tell how long the work took, or let an answer leave too early.

    Args:
        length: seconds.
    """

    def __init__(self, length: float) -> None:
        self.length = length

    def end(self, began: float, now: float) -> float:
        """The end of the slot that a request is in; it began before now, both in seconds of one clock.

        >>> Slots(0.25).end(10.0, 10.1), Slots(0.25).end(10.0, 10.25), Slots(0.25).end(10.0, 10.3)
        (10.25, 10.25, 10.5)
        """
        return began + max(1, math.ceil((now - began) / self.length - 1e-9)) * self.length

    async def wait(self, began: float) -> None:
        """Until the end of the slot of a request that began then, by the clock of the running loop."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(self.end(began, loop.time()), ended.set_result, None)
        try:
            await ended
        finally:
            timer.cancel()


def in_slots(slots: Slots) -> type[APIRoute]:
    """Routes all of whose answers leave at the ends of slots, those to requests of no use among them."""

    class InSlots(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def timed(request: Request) -> Response:
                arrived(request)
                try:
                    return await handler(request)
                finally:
                    await slots.wait(request.state.arrived)

            return timed

    return InSlots


def arrived(request: Request) -> None:
    """Count the slots of a request from now on: whoever chooses when its last byte comes must not choose when its slot ends."""
    request.state.arrived = asyncio.get_running_loop().time()
