"""A throttle for bursts, before everything that costs: for all workers with Redis, for each process without. No daily limit depends on it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from vauban.errors import BadGuard
from vauban.guard.config.model import Burst
from vauban.guard.refusal import Code, Refused

log = logging.getLogger("vauban.guard")
PAUSE = 1.0
"""Seconds for which a Redis that failed is not asked again."""
PATIENCE = 0.05
"""Seconds that Redis may take."""
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) >= now then now = tonumber(last) + 1 end
redis.call('ZADD', KEYS[1], now, string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[1] / 1000) + 1000)
return 1
"""
"""An exact log with Redis's own clock, in microseconds; one script, so that nobody comes between."""


class Throttle(Protocol):
    """Says whether one more is let through.

    Attributes:
        waits: whether it asks somebody else, and so is asked in a thread.
    """

    waits: bool

    def passes(self, key: str) -> bool:
        """Count one more of this key, if there is room for it."""
        ...


class Local:
    """The throttle of one process.

    Args:
        count, window: at most so many in any window of so many seconds.
        clock: seconds that only go forward.
    """

    waits = False

    def __init__(self, count: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.count, self.window, self.clock = count, window, clock
        self.logs: dict[str, deque[float]] = {}
        self.swept = clock()
        self.lock = threading.Lock()

    def passes(self, key: str) -> bool:
        """Count one more of this key, if there is room for it."""
        with self.lock:
            now = self.clock()
            self._sweep(now)
            held = self.logs.setdefault(key, deque(maxlen=self.count))
            if len(held) == self.count and held[0] > now - self.window:
                return False
            held.append(now)
            return True

    def _sweep(self, now: float) -> None:
        """Forget, once a window, who has not asked for one: there are never more keys than requests in two windows."""
        if now - self.swept >= self.window:
            self.logs = {key: held for key, held in self.logs.items() if held[-1] > now - self.window}
            self.swept = now


class Shared:
    """The throttle of all processes that know one Redis; while it does not answer, this process's own.

    Args:
        redis: a client with time-outs.
        config: `[burst]`.
        clock: seconds that only go forward.
    """

    waits = True

    def __init__(self, redis: Any, config: Burst, clock: Callable[[], float] = time.monotonic) -> None:
        self.redis, self.config, self.clock = redis, config, clock
        self.script = redis.register_script(SCRIPT)
        self.own = Local(config.count, config.window, clock)
        self.failed = -PAUSE

    @property
    def up(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self.failed == -PAUSE

    def passes(self, key: str) -> bool:
        """Count one more of this key, if there is room for it."""
        from redis.exceptions import RedisError

        if self.clock() < self.failed + PAUSE:
            return self.own.passes(key)
        try:
            told = self.script(keys=[f"vauban:burst:{key}"], args=[round(1e6 * self.config.window), self.config.count])
        except (RedisError, OSError) as error:
            if self.up:
                log.warning("Redis does not answer (%s): bursts are throttled by each process alone", type(error).__name__)
            self.failed = self.clock()
            return self.own.passes(key)
        self.failed = -PAUSE
        return bool(told)


def throttle(config: Burst) -> Throttle:
    """The throttle that `[burst]` asks for.

    Raises:
        BadGuard: the URL of Redis is none, or its client is not installed.
    """
    if config.redis is None:
        return Local(config.count, config.window)
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = Redis.from_url(
            config.redis, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0), protocol=2
        )
    except ImportError as error:
        raise BadGuard(f'[burst] redis = "{config.redis}": its client is not installed; pip install "vauban[guard-cluster]"') from error
    except ValueError as error:
        raise BadGuard(f'[burst] redis = "{config.redis}" is no URL of Redis; write "redis://host:6379/0"') from error
    return Shared(client, config)


def require_calm(throttle: Throttle, network: str) -> None:
    """Count a request of a network.

    Raises:
        Refused: LIMITED: too many at once.
    """
    if not throttle.passes(network):
        raise Refused(Code.LIMITED, "a burst", retry_after=1.0)
