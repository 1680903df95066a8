"""Answers that leave when the clock says so: how long the work took is told to nobody."""

from __future__ import annotations

import asyncio
import math
import time


class Slots:
    """Time slots of equal length, counted for each request from when it came.

    Args:
        length: seconds.
    """

    def __init__(self, length: float) -> None:
        self.length = length

    def left(self, began: float, now: float) -> float:
        """Seconds until the end of the slot that a request is in; it began before now, both in seconds of one clock.

        >>> Slots(0.25).left(10.0, 10.1), Slots(0.25).left(10.0, 10.25), round(Slots(0.25).left(10.0, 10.3), 3)
        (0.15000000000000036, 0.0, 0.2)
        """
        slots = max(1, math.ceil((now - began) / self.length - 1e-9))
        return max(0.0, began + slots * self.length - now)

    async def wait(self, began: float) -> None:
        """Until the end of the slot of a request that began then, by `time.monotonic`."""
        if (left := self.left(began, time.monotonic())) > 0:
            await asyncio.sleep(left)
