"""What an answer means: replies, something to try again, or the end, each in one sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from vauban.errors import AccessDenied, BadRequest
from vauban.target.http.answer import Reader, Reply, Unread
from vauban.target.http.exchange import Answered, Transient
from vauban.target.http.secrets import Secrets
from vauban.target.http.settings import Retry

RESETS = ("x-ratelimit-reset-after", "x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset")
SHOWN = 200
"""Characters of a body that an error shows."""
EPOCH = 1e8
"""A reset time of more than this is a date in seconds since 1970, and no number of seconds from now."""


class Triage:
    """Sorts answers."""

    def __init__(self, reader: Reader, retry: Retry, secrets: Secrets) -> None:
        self.reader, self.retry, self.secrets = reader, retry, secrets

    def replies(self, found: Answered, rows: int) -> list[Reply]:
        """The replies to so many rows.

        Raises:
            Transient: it may be better the next time.
            AccessDenied, BadRequest, Malformed: it will not.
        """
        text = found.text
        if self.reader.refuses(found.status, text):
            return [Reply(refused=True)] * rows
        if 200 <= found.status < 300:
            return self._read(found, text, rows)
        said = f"answered {_named(found.status)}: {self.excerpt(text)}"
        if found.status in self.retry.on:
            wait = wait_of(found.headers, time.time()) if found.status in (429, 503) else None
            raise Transient(said, status=found.status, wait=wait, billed=found.status not in (429, 503), received=len(found.body))
        if found.status in (401, 403, 407):
            hint = "; if this is how it refuses an input, say refused_status = [403]" if found.status == 403 else ""
            raise AccessDenied(f"{said}: it does not accept the credentials in headers or query{hint}")
        raise BadRequest(f"{said}: the request is not as the endpoint wants it, see encode, body and method")

    def excerpt(self, text: str) -> str:
        """The beginning of a body on one line, without secrets."""
        line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", self.secrets.struck(text)).split())
        return (line if len(line) <= SHOWN else f"{line[:SHOWN]}...") or "(an empty body)"

    def _read(self, found: Answered, text: str, rows: int) -> list[Reply]:
        try:
            return self.reader.read(text, rows)
        except Unread as error:
            reason = self.secrets.struck(f"{error}. It began: {self.excerpt(text)}")
            raise Transient(reason, status=found.status, garbled=True, received=len(found.body)) from error


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait, or None.

    >>> wait_of({"retry-after": "2.5"}, 0.0), wait_of({"x-ratelimit-reset": "1700000010"}, 1700000000.0), wait_of({}, 0.0)
    (2.5, 10.0, None)
    """
    after = headers.get("retry-after", "")
    found = _seconds(after) if after else None
    if after and found is None:
        found = _until(after, now)
    for name in RESETS if found is None else ():
        value = _seconds(headers.get(name, ""))
        if value is not None:
            found = value - now if value > EPOCH else value
            break
    return None if found is None else max(found, 0.0)


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d+(\.\d*)?\s*", text) else None


def _until(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return None


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
