"""The log of one scope: when its attempts were, kept exactly, so that no window of that length anywhere holds more than the limit."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

EXACT = 1000
"""Ceilings above it keep their log in buckets."""
BUCKETS = 96
"""To a window. An attempt counts until the end of its bucket has left the window: never too short, at most 1/96 of the window too long."""


@dataclass(frozen=True, slots=True)
class Log:
    """Attempts in the order of time.

    Attributes:
        stamps: seconds since 1970, rising; of a bucket its end.
        counts: attempts at each.
    """

    stamps: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """All attempts in it."""
        return sum(self.counts)

    @property
    def last(self) -> float:
        """The latest stamp; minus infinity if there is none."""
        return self.stamps[-1] if self.stamps else -math.inf

    def within(self, now: float, window: float) -> Log:
        """What is left of it in the window that ends now."""
        gone = next((i for i, stamp in enumerate(self.stamps) if stamp > now - window), len(self.stamps))
        return Log(self.stamps[gone:], self.counts[gone:]) if gone else self

    def after(self, now: float, window: float, limit: int) -> Log:
        """With one attempt now, which is exact for a limit up to 1,000 and in its bucket above."""
        width = window / BUCKETS
        stamp = max(self.last, now if limit <= EXACT else (math.floor(now / width) + 1) * width)
        if stamp == self.last:
            return Log(self.stamps, (*self.counts[:-1], self.counts[-1] + 1))
        return Log((*self.stamps, stamp), (*self.counts, 1))

    def wait(self, now: float, window: float, limit: int) -> float:
        """Seconds until there is room for one more; 0 if there is.

        >>> Log((10.0, 20.0, 30.0), (1, 1, 1)).wait(40.0, 60.0, limit=2)
        40.0
        """
        left = self.total
        for stamp, count in zip(self.stamps, self.counts, strict=True):
            if left < limit:
                break
            left -= count
            if left < limit:
                return max(0.0, stamp + window - now)
        return 0.0

    def packed(self) -> bytes:
        """As it is stored: 12 bytes for each stamp."""
        return struct.pack(f"<{len(self.stamps)}d{len(self.counts)}I", *self.stamps, *self.counts)


def unpacked(told: bytes) -> Log:
    """A log as it was stored.

    >>> unpacked(Log((10.0, 20.0), (1, 3)).packed())
    Log(stamps=(10.0, 20.0), counts=(1, 3))
    """
    size = len(told) // 12
    both = struct.unpack(f"<{size}d{size}I", told)
    return Log(both[:size], both[size:])
