"""A server process for tests of remote targets, and targets that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from endpoint_server import scores

from vauban.target.http import Answer, Authorisation, Http, Request, Retry, Timeout

STATEMENT = "The owner of these tests allows it; see the test itself."
QUICK = Retry(attempts=4, first=0.01, most=0.05, patience=5.0, give_up=2)
SHORT = Timeout(connect=2.0, read=0.5, total=1.0)
SCORES = Answer(scores="result.scores", outputs="logits")
LIST = Request(encode="list")


class Endpoint:
    """The server, from its start to its end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "endpoint_server.py")], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.host = f"127.0.0.1:{self.port}"
        self._seen = 0

    def url(self, path: str = "list/scores") -> str:
        return f"http://{self.host}/{path}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def reset(self) -> None:
        """Forget faults, and the questions so far."""
        self.faults()
        self._post("delay", 0.0)
        self._seen = len(self._log())

    def faults(self, *faults: str) -> None:
        self._post("faults", list(faults))

    def delay(self, seconds: float) -> None:
        self._post("delay", seconds)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The questions since the last reset."""
        return self._log()[self._seen :]

    @property
    def asked(self) -> Counter[str]:
        """How often each row was asked about, by its sha256."""
        return Counter(sha for line in self.log for sha in line["rows"])

    def allowed(self) -> Authorisation:
        return Authorisation(STATEMENT, (self.host,))

    def target(self, path: str = "list/scores", **more: Any) -> Http:
        """A target that asks this server, without patience."""
        settings: dict[str, Any] = {"answer": SCORES, "request": LIST, "retry": QUICK, "timeout": SHORT, **more}
        return Http(self.url(path), self.allowed(), **settings)

    def _log(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.url("log"), timeout=10) as answer:
            return json.load(answer)["log"]

    def _post(self, path: str, value: object) -> None:
        request = urllib.request.Request(self.url(path), json.dumps(value).encode(), method="POST")
        urllib.request.urlopen(request, timeout=10).close()


__all__ = ["LIST", "QUICK", "SCORES", "SHORT", "Endpoint", "scores"]
