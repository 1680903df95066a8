"""HTTP as it comes: whoever is too slow, too long or speaks no HTTP gets one short answer from the closed list, and the connection is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vauban.guard.refusal import Code
from vauban.guard.server.problems import BODIES, MEDIA

CONNECTIONS = 512
"""That may be open in one process; one more is told that the guard is unavailable, and those that are open are served."""
HEAD = 16384
"""Bytes that the request line and the headers may have together."""
FIELDS = 100
"""Headers that a request may have."""
LINGER = 1.0
"""Seconds for which what still comes is thrown away after a last answer: closing at once would take the answer back with it."""


class Wire(HttpToolsProtocol):
    """One connection. uvicorn's own has neither a time nor a size for headers, and answers in its own words.

    Args:
        seconds: that the headers of a request may take; after twice as long without the whole of its body the connection is closed.
    """

    def __init__(self, *args: Any, seconds: float = 10.0, **others: Any) -> None:
        super().__init__(*args, **others)
        self.seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._inside = False  # between the end of the headers and the end of the body
        self._parting = False
        self._heads = self._raw = self._size = self._fields = 0

    # ---- connections ----------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._part(Code.UNAVAILABLE)
        else:
            self._within(self.seconds, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._parting:
            return
        waiting = (self._heads, self._inside)
        super().data_received(data)
        if self._parting or self._inside:
            return
        self._raw = self._raw + len(data) if waiting == (self._heads, False) else 0
        if self._raw > HEAD:
            self._part(Code.BAD_REQUEST)
        elif self._raw and self._deadline is None:
            self._within(self.seconds, self._too_late)

    # ---- what the parser finds ------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = self._fields = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._heads, self._raw, self._inside = self._heads + 1, 0, True
        self._within(2 * self.seconds, self._close)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._inside = False
        self._rest()
        super().on_message_complete()
        if self.cycle.response_complete:  # it was answered before it was over: nothing else waits for the next request
            self._within(self.seconds, self._too_late)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._inside and not self.transport.is_closing():  # nobody reads what still comes
            self._within(LINGER, self._close)

    def send_400_response(self, msg: str) -> None:
        self._part(Code.BAD_REQUEST)

    # ---- ends -----------------------------------------------------------------------------------------------------------------------

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > HEAD or self._fields > FIELDS:
            raise ValueError("the headers are too long")  # the parser makes an error of its own of it

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._rest()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _rest(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _busy(self) -> bool:
        cycle = cast("Any", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _too_late(self) -> None:
        """The headers did not come in time."""
        if self._busy():
            self._within(self.seconds, self._too_late)
        elif self._raw:
            self._part(Code.BAD_REQUEST)
        else:
            self._close()

    def _part(self, code: Code) -> None:
        """Say a last word, and listen for a moment so that it arrives."""
        self._parting = True
        body = BODIES[code]
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        said = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[code.status] + said + b"\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._unset_keepalive_if_required()
        self._within(LINGER, self._close)

    def _close(self) -> None:
        self._rest()
        self.transport.close()
