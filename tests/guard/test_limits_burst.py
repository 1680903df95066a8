"""The throttle for bursts: exact in one process and over many with Redis, and never a reason to be down."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vauban.errors import BadGuard
from vauban.guard.config.model import Burst
from vauban.guard.limits import require_calm, throttle
from vauban.guard.limits.burst import PAUSE, SCRIPT, Local, Shared
from vauban.guard.refusal import Code, Refused


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400).map(lambda q: q / 4), st.sampled_from("ab")), max_size=80), st.integers(1, 5), st.integers(1, 20)
)
def test_a_process_lets_so_many_through_in_any_window_and_no_fewer(asked: list[tuple[float, str]], count: int, window: int) -> None:
    now, passed = [0.0], {"a": [], "b": []}
    local = Local(count, window, lambda: now[0])
    for at, key in sorted(asked):
        now[0] = at
        room = sum(1 for t in passed[key] if t > at - window) < count
        assert local.passes(key) is room
        if room:
            passed[key].append(at)


def test_a_process_remembers_nobody_for_longer_than_two_windows() -> None:
    now = [0.0]
    local = Local(5, 1.0, lambda: now[0])
    for i in range(5000):
        now[0] = i / 1000
        local.passes(f"network-{i}")
        assert len(local.logs) <= 2001


def test_a_burst_is_limited_and_says_so() -> None:
    local = throttle(Burst(count=2))
    require_calm(local, "192.0.2.0/24")
    require_calm(local, "192.0.2.0/24")
    with pytest.raises(Refused) as error:
        require_calm(local, "192.0.2.0/24")
    assert error.value.code is Code.LIMITED
    require_calm(local, "198.51.100.0/24")


def test_many_at_once_pass_no_more_than_the_count_through_redis(redis_url: str) -> None:
    config = Burst(redis=redis_url, count=10, window=30)
    shared = [throttle(config) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda i: shared[i % 8].passes("one"), range(320)))
    assert all(isinstance(one, Shared) and one.up for one in shared)
    assert sum(told) == 10


def test_redis_counts_any_window_by_its_own_clock(redis_url: str) -> None:
    shared, passed = throttle(Burst(redis=redis_url, count=3, window=0.2)), []
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        began = time.monotonic()
        if shared.passes("window"):
            passed.append((began, time.monotonic()))
    assert len(passed) >= 12
    for earlier, later in zip(passed, passed[3:], strict=False):
        assert later[1] - earlier[0] >= 0.2


def test_what_comes_in_one_microsecond_counts_as_often_as_it_comes(redis_url: str) -> None:
    """Newer servers freeze the time while they work through what came together; here it is frozen for good."""
    shared = throttle(Burst(redis=redis_url))
    assert isinstance(shared, Shared)
    frozen = shared.redis.register_script(SCRIPT.replace("redis.call('TIME')", "{1800000000, 5}"))
    assert sum(frozen(keys=["frozen"], args=[60_000_000, 100]) for _ in range(150)) == 100


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        s.listen(64)
        yield f"redis://127.0.0.1:{s.getsockname()[1]}/0"


def test_a_redis_that_is_gone_or_silent_costs_little_and_each_process_throttles_alone(silent: str) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        gone = f"redis://127.0.0.1:{s.getsockname()[1]}/0"
    for url in (gone, silent):
        shared = throttle(Burst(redis=url, count=5, window=60))
        began = time.monotonic()
        assert [shared.passes("one") for _ in range(40)] == [True] * 5 + [False] * 35
        assert isinstance(shared, Shared) and not shared.up
        assert time.monotonic() - began < 0.9 * PAUSE  # it was asked once


def test_a_redis_that_comes_back_is_asked_again(redis_url: str) -> None:
    now = [100.0]
    shared = throttle(Burst(redis=redis_url, count=5, window=60))
    assert isinstance(shared, Shared)
    shared.clock = lambda: now[0]
    shared.failed = now[0]
    assert shared.passes("back") and not shared.up
    now[0] += PAUSE
    assert shared.passes("back") and shared.up


@pytest.mark.parametrize("url", ["localhost", "http://localhost", "redis://localhost:port"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(BadGuard, match="no URL of Redis"):
        throttle(Burst(redis=url))
