"""When answers leave tells nothing: all of them at the ends of time slots, and an accepted attempt like a rejected one.

Two samples are told apart by the test of Kolmogorov and Smirnov at a level of 1e-4. With n requests of each kind it sees distributions whose
largest difference is 2.23 * sqrt(2 / n) or more: 0.79 of 16, 0.1 of 1000. By the inequality of Dvoretzky, Kiefer and Wolfowitz a true
difference of 0.22 is missed by 1000 with a probability of at most 0.3 %.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pytest
from raw_http import Connection, connected, request
from scipy.stats import ks_2samp, mannwhitneyu
from whole_guards import FAST, home, image, served

from vauban.guard.client import ATTEMPTS, Client, Device, Session
from vauban.guard.refusal import Refused
from vauban.guard.server.slots import Slots
from vauban.guard.service import Asked, Guard
from vauban.guard.storage import Store

ALPHA, SLOT, ATTEMPTS_EACH = 1e-4, 0.08, 100
TEXT = (
    FAST.replace("0.05s", f"{SLOT}s")
    + f'[session]\nmode = "direct"\nattempts = {ATTEMPTS_EACH}\n[limits]\n'
    + "".join(f"{scope} = {{ count = 1000000, window = 60 }}\n" for scope in ("device", "account", "network"))
    + "[lockout]\nfails = 1000000\n"
)
Seconds = npt.NDArray[np.float64]
ACCEPT, REJECT = (200, b'{"decision":"accept"}'), (200, b'{"decision":"reject"}')


class Branches:
    """Requests that end in each way that there is, made ready before any is timed."""

    def __init__(self, guard: Guard, client: Client) -> None:
        self.guard, self.client = guard, client
        self.device = Device()
        self.seen = image(0.8, seed=1)
        first = Device()
        assert client.attempt(client.open(first), first, self.seen).content == ACCEPT[1]
        self.spent = self._spent()
        self.used: bytes | None = None

    def accept(self) -> bytes:
        return self._new(image(0.8))

    def reject(self) -> bytes:
        return self._new(image(0.2))

    def flagged(self) -> bytes:
        return self._new(self.seen)

    def no_image(self) -> bytes:
        return self._new(b"\xff\xd8" + secrets.token_bytes(1000))

    def no_token(self) -> bytes:
        session = Session("0" * 32, "v1.1.e30." + "A" * 43, 1)
        return self._of(session, self.device, image(0.8))

    def replay(self) -> bytes:
        if self.used is None or random.random() < 0.05:
            self.used = self._new(b"\xff\xd8 no image, with a nonce that is used now")
            with connected(self.client.url) as wired:
                assert timed(wired, self.used)[1] == 422
        return self.used

    def limited(self) -> bytes:
        return self._of(self.spent, self.device, image(0.8))

    def _new(self, body: bytes) -> bytes:
        device = Device()
        return self._of(self.client.open(device), device, body)

    def _of(self, session: Session, device: Device, body: bytes) -> bytes:
        return request("POST", ATTEMPTS, device.headers(session, body), body)

    def _spent(self) -> Session:
        session = self.client.open(self.device)
        for _ in range(ATTEMPTS_EACH):
            headers = self.device.headers(session, b"x")
            claim = Asked(
                session.token,
                headers["X-Vauban-Nonce"],
                int(headers["X-Vauban-Timestamp"]),
                headers["X-Vauban-Signature"],
                "198.51.100.0/24",
            )
            with pytest.raises(Refused):
                self.guard.attempt(claim.of(b"x", sha256(b"x").hexdigest()))
        return session


STATUS = {"accept": 200, "reject": 200, "flagged": 200, "no_image": 422, "no_token": 401, "replay": 409, "limited": 429}


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guard, Client]]:
    folder = tmp_path_factory.mktemp("timing")
    patient = Store(f"sqlite:///{folder / 'guard.db'}", patience=20)  # what is measured is when answers leave, not how busy this machine is
    with served(home(folder, TEXT), patient) as found:
        yield found


@pytest.fixture(scope="module")
def branches(listener: tuple[Guard, Client]) -> Branches:
    return Branches(*listener)


def timed(wired: Connection, said: bytes) -> tuple[float, int, bytes]:
    """Seconds from the last byte of a request to the first of its answer, its status, its body."""
    began = time.perf_counter()
    wired.send(said)
    answer = wired.answer()
    ended = time.perf_counter()
    assert answer is not None
    return ended - began, answer.status, answer.body


def sampled(branches: Branches, kinds: list[str], rounds: int) -> dict[str, Seconds]:
    """Seconds of every kind of request, one of each a round, in random order, on one connection each."""
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        ready = {kind: getattr(branches, kind)() for kind in random.sample(kinds, len(kinds))}
        with connected(branches.client.url) as wired:
            for kind, said in ready.items():
                seconds, status, body = timed(wired, said)
                assert status == STATUS[kind], kind
                if status == 200:
                    assert (status, body) == (ACCEPT if kind == "accept" else REJECT)
                found[kind].append(seconds)
    return {kind: np.array(seconds) for kind, seconds in found.items()}


def late(seconds: Seconds) -> Seconds:
    """How long after the end of its slot each answer came."""
    return seconds - SLOT * np.maximum(1, np.floor((seconds + 0.002) / SLOT))


def told_apart(a: Seconds, b: Seconds) -> bool:
    return min(ks_2samp(a, b).pvalue, mannwhitneyu(a, b).pvalue) < ALPHA / 2


@contextmanager
def patched(monkeypatch: pytest.MonkeyPatch, wait: Callable[..., object]) -> Iterator[None]:
    with monkeypatch.context() as held:
        held.setattr(Slots, "wait", wait)
        yield


async def at_once(_: Slots, __: float) -> None:
    """No slots."""


def test_every_answer_leaves_at_the_end_of_a_slot_and_none_is_told_from_another_by_it(branches: Branches) -> None:
    found = sampled(branches, list(STATUS), 16)
    for kind, seconds in found.items():
        assert seconds.min() >= SLOT - 0.002, kind
        assert np.median(late(seconds)) < SLOT / 2, kind
    for kind in list(STATUS)[1:]:
        assert not told_apart(late(found["accept"]), late(found[kind])), kind


def test_without_slots_they_are_told_apart(branches: Branches, monkeypatch: pytest.MonkeyPatch) -> None:
    with patched(monkeypatch, at_once):
        found = sampled(branches, ["accept", "no_token", "limited"], 16)
    assert told_apart(found["accept"], found["no_token"])
    assert told_apart(found["accept"], found["limited"])
    assert found["no_token"].min() < SLOT / 2


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_whoever_chooses_when_the_last_byte_comes_does_not_choose_when_the_slot_ends(branches: Branches, share: float) -> None:
    """Otherwise the last byte is sent just before the end of a slot, and whether the answer still makes it tells how long the work took."""
    said = branches.accept()
    with connected(branches.client.url) as wired:
        wired.send(said[:-1])
        time.sleep(share * SLOT)
        seconds, status, _ = timed(wired, said[-1:])
    assert status == 200 and seconds >= SLOT - 0.002


def test_what_is_not_even_an_attempt_waits_for_its_slot_too(branches: Branches) -> None:
    with connected(branches.client.url) as wired:
        seconds, status, _ = timed(wired, request("POST", ATTEMPTS, {"Content-Type": "image/png"}, b"x"))
    assert status == 400 and seconds >= SLOT - 0.002


@pytest.mark.slow
def test_an_accepted_attempt_is_not_told_from_a_rejected_or_flagged_one_in_thousands(branches: Branches) -> None:
    kinds = ["accept", "reject", "flagged"]
    with ThreadPoolExecutor(2) as threads:
        parts = list(threads.map(lambda _: sampled(branches, kinds, 500), range(2)))
    found = {kind: np.concatenate([part[kind] for part in parts]) for kind in kinds}
    assert {len(seconds) for seconds in found.values()} == {1000}
    for kind in kinds[1:]:
        a, b = found["accept"], found[kind]
        tests = ks_2samp(late(a), late(b)), mannwhitneyu(late(a), late(b)), ks_2samp(a, b)
        seen = next(shift for shift in np.arange(0.0001, 0.1, 0.0001) if told_apart(late(a), late(b) + shift))
        print(f"{kind}: D = {tests[0].statistic:.3f}, p = {[f'{t.pvalue:.3g}' for t in tests]}; {1e3 * seen:.1f} ms would be seen")
        print(f"  medians {1e3 * np.median(late(a)):.2f} and {1e3 * np.median(late(b)):.2f} ms after the slot's end")
        assert min(t.pvalue for t in tests) > ALPHA / 3
    assert told_apart(late(found["accept"]), late(found["reject"]) + 0.02)
