"""The models of an ensemble, asked at once, each on a thread of its own; what is late or fails has no vote."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late

import numpy as np

from vauban.errors import BadManifest, GuardDown
from vauban.guard.images import Picture
from vauban.guard.quorum.model import Floats, Levels, Scores
from vauban.guard.quorum.votes import Verdict, Vote, Way, accepted

WAITING = 64
"""Questions that may wait for one model; what comes then is late at once."""
START = 30.0
"""Seconds that the golden inputs may take."""


class Quorum:
    """A few models that answer together. Any number of threads may ask.

    Each model answers the golden inputs of its manifest first; one that answers otherwise is refused.

    Args:
        models: loaded, each with its manifest.
        vote: "unanimous" or "majority".
        least: how many must have answered.
        timeout: seconds for each.
        ensemble: its id, which verdicts carry.

    Raises:
        BadManifest: no models, one twice, fewer than `least`, or one that does not answer its golden inputs as it did.
    """

    def __init__(self, models: Sequence[Scores], vote: Way = "unanimous", least: int = 2, timeout: float = 2.0, ensemble: str = "") -> None:
        names, files = ({getattr(m.manifest, what) for m in models} for what in ("model", "sha256"))
        if not models or min(len(names), len(files)) < len(models):
            raise BadManifest(f"ensemble {ensemble or '(unnamed)'}: {len(models)} models, of which one stands twice, or none")
        if len(models) < least:
            raise BadManifest(f"ensemble {ensemble or '(unnamed)'}: has {len(models)} models, and [models] least = {least} must answer")
        self.vote: Way = vote
        self.least, self.timeout, self.ensemble = least, timeout, ensemble
        self._members = [Member(model) for model in models]
        self._watched = threading.Lock()
        self._out: dict[str, str] = {}
        out = self.examine()
        if out:
            self.close()
            raise BadManifest(f"ensemble {ensemble or '(unnamed)'}: {'; '.join(out.values())}")

    @property
    def sizes(self) -> frozenset[tuple[int, int]]:
        """The sizes in which pictures are wanted."""
        return frozenset(member.model.manifest.size for member in self._members)

    @property
    def out(self) -> dict[str, str]:
        """The models that are out of service, and why."""
        return dict(self._out)

    def ask(self, picture: Picture) -> Verdict:
        """What the models say. All in service are asked, and all are waited for.

        A vote that is missing counts as one against, so that nothing is gained by making a model fail. A model that no longer answers its
        golden inputs as it did is out of service and not asked; the others go on while they are as many as `least`.

        Raises:
            GuardDown: fewer than `least` answered.
        """
        end = time.monotonic() + self.timeout
        out = self._out
        asked = [(m, m.ask(picture.pixels[m.model.manifest.size][None])) for m in self._members if m.name not in out]
        votes = tuple(_vote(member, answer, end) for member, answer in asked)
        told = sum(v.accept is not None for v in votes)
        if told < self.least:
            silent = "; ".join([f"{v.model} {v.why}" for v in votes if v.accept is None] + [f"{n} is out of service" for n in out])
            raise GuardDown(f"models: {told} of {len(self._members)} answered, {self.least} must: {silent}")
        return Verdict(accepted(votes, self.vote, len(self._members)), votes, self.ensemble)

    def examine(self) -> dict[str, str]:
        """Ask every model its golden inputs; what is wrong with those that answer otherwise. They are out of service until they answer right."""
        with self._watched:
            found = {member.name: why for member in self._members if (why := _examined(member))}
            self._out = found
        return dict(found)

    def close(self) -> None:
        """End the threads, once they are done."""
        for member in self._members:
            member.end()


class Member:
    """A model and its thread. A thread of a pool would be waited for when the process ends; this one is not."""

    def __init__(self, model: Scores) -> None:
        self.model, self.name = model, model.manifest.model
        self._questions: queue.SimpleQueue[tuple[Levels, Future[Floats]] | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._at: Future[Floats] | None = None
        threading.Thread(target=self._answer, name=f"model {self.name}", daemon=True).start()

    def ask(self, levels: Levels) -> Future[Floats]:
        """Its scores, once they are there."""
        answer: Future[Floats] = Future()
        if self._questions.qsize() < WAITING:
            self._questions.put((levels, answer))
        else:
            answer.set_exception(Late())
        return answer

    def give_up(self, answer: Future[Floats]) -> None:
        """Nobody waits for this answer any more: it is not begun, or given up; the next one is not touched."""
        if answer.cancel():
            return
        with self._turn:
            if self._at is answer:
                self.model.stop()

    def end(self) -> None:
        self._questions.put(None)

    def _answer(self) -> None:
        while (question := self._questions.get()) is not None:
            levels, answer = question
            if not answer.set_running_or_notify_cancel():
                continue
            with self._turn:
                self._at = answer
            try:
                answer.set_result(self.model.scores(levels))
            except BaseException as error:  # told to whoever asked
                answer.set_exception(error)
            with self._turn:
                self._at = None


def _vote(member: Member, answer: Future[Floats], end: float) -> Vote:
    threshold = member.model.manifest.threshold
    try:
        score = float(answer.result(max(0.0, end - time.monotonic()))[0])
    except Late:
        member.give_up(answer)
        return Vote(member.name, None, None, "was late")
    except Exception as error:  # of the runtime, of anything: a model that fails has no vote
        return Vote(member.name, None, None, f"failed: {error}")
    if not np.isfinite(score):
        return Vote(member.name, None, None, "gave no finite score")
    return Vote(member.name, score - threshold, score > threshold)


def _examined(member: Member) -> str | None:
    """What is wrong with a model, by its golden inputs."""
    told = member.model.manifest
    expected = np.array(told.golden.scores)
    if bool((np.abs(expected - told.threshold) < 10 * told.golden.tolerance).any()):
        return f"model {told.model}: a golden score is too near to the threshold to be told from it"
    try:
        found = member.ask(told.golden_inputs()).result(START)
    except Late:
        return f"model {told.model}: did not answer its golden inputs in {START:g} s"
    except Exception as error:
        return f"model {told.model}: {error}"
    apart = np.abs(found - expected)
    if not bool((apart <= told.golden.tolerance).all()):
        return f"model {told.model}: its golden inputs score otherwise here, by up to {np.nanmax(apart, initial=0):.2g} or not finite"
    return None
