"""The log of one scope: whatever the schedule, no window of its length holds more than the limit."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vauban.guard.limits.log import BUCKETS, EXACT, Log, unpacked

DAY = 86400.0


def admitted(times: list[float], window: float, limit: int, log: Log | None = None) -> list[float]:
    """The times at which a log lets an attempt through."""
    log, passed = log or Log(), []
    for now in times:
        log = log.within(now, window)
        if log.total < limit:
            log = unpacked(log.after(now, window, limit).packed())
            passed.append(now)
    return passed


def most(times: list[float], window: float) -> int:
    """The largest number of them in any half-open window; the fullest one begins at one of them."""
    ordered = sorted(times)
    return max((bisect_left(ordered, start + window) - i for i, start in enumerate(ordered)), default=0)


def greedy(times: list[float], window: float, limit: int) -> list[float]:
    """What a limit over every window lets through at best, by its definition."""
    passed: list[float] = []
    for now in times:
        if sum(1 for t in passed if t > now - window) < limit:
            passed.append(now)
    return passed


SCHEDULES = st.lists(st.integers(0, 4000).map(lambda q: q / 4), min_size=1, max_size=120).map(sorted)


@settings(deadline=None)
@given(SCHEDULES, st.integers(1, 12), st.integers(1, 200))
@example([0.0] * 10 + [100.0] * 10, 10, 100)
@example([99.75] * 10 + [100.0] * 10, 10, 100)
def test_no_window_anywhere_holds_more_than_the_limit_and_nothing_less_is_refused(times: list[float], limit: int, window: int) -> None:
    passed = admitted(times, float(window), limit)
    assert most(passed, float(window)) <= limit
    assert passed == greedy(times, float(window), limit)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4000).map(lambda q: q / 4), min_size=1, max_size=60), st.integers(1, 6), st.integers(1, 300))
def test_a_clock_that_goes_back_a_little_gives_nobody_more(times: list[float], limit: int, window: int) -> None:
    log, stamps = Log(), []
    for now in times:  # not sorted: each attempt is counted at the latest time that was seen
        log = log.within(now, window)
        if log.total < limit:
            log = log.after(now, window, limit)
            stamps.append(log.last)
    assert most(stamps, window) <= limit


def test_the_edge_of_a_fixed_window_doubles_nothing() -> None:
    schedule = [DAY - 0.001] * 40 + [DAY + 0.001] * 40 + [2 * DAY - 0.002] * 40 + [2 * DAY - 0.0005] * 40
    passed = admitted(schedule, DAY, 10)
    assert passed == [DAY - 0.001] * 10 + [2 * DAY - 0.0005] * 10
    assert most(passed, DAY) == 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 40_000).map(lambda q: q / 4), min_size=1, max_size=40).map(sorted), st.integers(1, 60))
def test_a_ceiling_in_buckets_never_lets_more_through_than_an_exact_one_would(times: list[float], per: int) -> None:
    limit, window = EXACT + 1, 3600.0
    earlier = [times[0] - 10.0] * (limit - per)  # nearly full from the start, so that the ceiling matters
    log = Log((times[0] - 10.0,), (limit - per,))
    passed = admitted([t for t in times for _ in range(per)], window, limit, log)
    assert most(earlier + passed, window) <= limit


def test_a_bucket_counts_at_most_one_part_in_96_of_the_window_too_long() -> None:
    window, limit = 96.0, 2000
    log = Log().after(10.25, window, limit)
    assert log.stamps == (11.0,)
    assert log.within(10.25 + window + 0.74, window).total == 1
    assert log.within(11.0 + window, window).total == 0
    full = Log()
    for i in range(96 * 40):
        full = full.within(i / 40, window).after(i / 40, window, limit)
    assert len(full.stamps) <= BUCKETS + 1


@settings(deadline=None)
@given(SCHEDULES, st.integers(1, 9), st.integers(1, 300))
def test_the_wait_that_is_told_is_the_shortest_that_helps(times: list[float], limit: int, window: int) -> None:
    log = Log()
    for now in times:
        log = log.within(now, window)
        if log.total < limit:
            log = log.after(now, window, limit)
    wait = log.within(now, window).wait(now, window, limit)
    assert log.within(now + wait, window).total < limit
    assert wait == 0 or log.within(now + wait - 0.125, window).total == limit


@pytest.mark.parametrize("limit, left", [(3, 30.0), (2, 40.0), (1, 50.0)])
def test_a_limit_that_was_lowered_waits_for_enough_to_leave(limit: int, left: float) -> None:
    assert Log((10.0, 20.0, 30.0), (1, 1, 1)).wait(40.0, 60.0, limit) == left
