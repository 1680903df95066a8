"""One attempt: a request is put together and sent, and a whole answer comes back, or a reason why none did."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vauban.errors import BadRequest, Missing, NotAuthorised
from vauban.target.http.secrets import Secrets
from vauban.target.http.settings import ROW, ROWS, Authorisation, Request, Timeout
from vauban.target.http.wire import Packed

if TYPE_CHECKING:
    import httpx

MOVES = (301, 302, 303, 307, 308)


class Transient(Exception):
    """No answer this time, and perhaps one the next time.

    Attributes:
        reason: in words, without secrets.
        status: of the answer, where there was one.
        wait: seconds that the endpoint asks to wait, or None.
        billed: whether it has to be taken as paid for.
        garbled: whether there was an answer that could not be read.
        at_once: whether nothing is gained by waiting.
    """

    def __init__(
        self, reason: str, *, status: int | None = None, wait: float | None = None, billed: bool = True, garbled: bool = False,
        received: int = 0, at_once: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.reason, self.status, self.wait, self.billed = reason, status, wait, billed
        self.garbled, self.received, self.at_once = garbled, received, at_once


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


class Exchange:
    """Sends rows to one URL, and to nowhere else.

    Args:
        url: "https://host/path".
        connections: how many may be open at once.
    """

    def __init__(
        self, url: str, request: Request, timeout: Timeout, authorisation: Authorisation, secrets: Secrets, connections: int
    ) -> None:
        self.url, self.request, self.timeout, self.authorisation, self.secrets = url, request, timeout, authorisation, secrets
        self.connections = connections
        self._client: httpx.AsyncClient | None = None

    async def send(self, rows: Sequence[Packed]) -> Answered:
        """Send some rows once.

        Raises:
            Transient: nothing came back, or not all of it.
            NotAuthorised, BadRequest: it is sent elsewhere, and not followed.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout.total):
                found = await self._once(rows, began)
        except TimeoutError as error:
            raise Transient(f"no whole answer within {self.timeout.total:g} seconds") from error
        if found.status in MOVES:
            self._moved(found)
        return found

    def size(self, rows: Sequence[Packed]) -> int:
        """Bytes of the rows, as they are encoded."""
        return sum(len(r.data) for r in rows)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _once(self, rows: Sequence[Packed], began: float) -> Answered:
        httpx = _httpx()
        client = self._opened()
        body = bytearray()
        try:
            async with client.stream(self.request.method, self.url, **self._content(rows)) as response:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > self.timeout.largest:
                        raise Transient(
                            f"an answer of more than {self.timeout.largest:,} bytes",
                            status=response.status_code,
                            garbled=True,
                            received=len(body),
                        )
                return Answered(response.status_code, response.headers, bytes(body), time.perf_counter() - began)
        except (httpx.ConnectTimeout, httpx.ConnectError) as error:
            raise Transient(f"no connection: {self._told(error)}", billed=False) from error
        except httpx.TimeoutException as error:
            raise Transient(f"nothing came for {self.timeout.read:g} seconds", received=len(body)) from error
        except httpx.DecodingError as error:
            raise Transient(f"the answer cannot be unpacked: {self._told(error)}", garbled=True, received=len(body)) from error
        except httpx.TransportError as error:
            raise Transient(f"the connection broke off: {self._told(error)}", received=len(body)) from error

    def _opened(self) -> httpx.AsyncClient:
        if self._client is not None:
            return self._client
        httpx = _httpx()
        waits = httpx.Timeout(self.timeout.read, connect=self.timeout.connect, pool=None)
        limits = httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections)
        headers = self.secrets.filled(dict(self.request.headers))
        query = self.secrets.filled(dict(self.request.query))
        client: httpx.AsyncClient = httpx.AsyncClient(timeout=waits, limits=limits, headers=headers, params=query, follow_redirects=False)
        self._client = client
        return client

    def _content(self, rows: Sequence[Packed]) -> dict[str, Any]:
        asked = self.request
        if asked.multipart:
            row = rows[0]
            upload = {asked.multipart: (f"row.{row.suffix}", row.data, row.mime)}
            return {"files": upload, "data": self.secrets.filled(dict(asked.form))}
        body = filled(self.secrets.filled(asked.template), asked.item, [r.value for r in rows])
        return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}

    def _moved(self, found: Answered) -> None:
        """The endpoint names another place: followed within the authorisation, by sending the same again; else an error."""
        httpx = _httpx()
        target = httpx.URL(self.url).join(found.headers.get("location", ""))
        self.authorisation.check(target.host, target.port, "the endpoint sends on to")
        if self.url.startswith("https:") and target.scheme != "https":
            raise NotAuthorised("the endpoint sends on from https to http, where secrets could be read; nothing was sent there")
        plain = f"{target.scheme}://{target.netloc.decode()}{target.path}"
        if found.status not in (307, 308) or plain == self.url:
            raise BadRequest(f"answered {found.status}, sending on to {plain}; give that address if it is the right one")
        self.url = plain
        raise Transient(f"it was sent on to {plain}", status=found.status, billed=False, at_once=True)

    def _told(self, error: Exception) -> str:
        return self.secrets.struck(str(error).splitlines()[0] if str(error) else type(error).__name__)


def filled(template: Any, item: Any, values: Sequence[Any]) -> Any:
    """A JSON template with the rows in their place.

    >>> filled({"instances": "<rows>"}, {"b64": "<row>"}, ["aGk="])
    {'instances': [{'b64': 'aGk='}]}
    """
    if isinstance(template, Mapping):
        return {k: filled(v, item, values) for k, v in cast("Mapping[str, Any]", template).items()}
    if isinstance(template, list | tuple):
        return [filled(v, item, values) for v in cast("list[Any]", template)]
    if template == ROWS:
        return [filled(item, None, [v]) for v in values]
    if template == ROW:
        return values[0]
    if isinstance(template, str) and ROW in template:
        return template.replace(ROW, values[0] if isinstance(values[0], str) else json.dumps(values[0]))
    return template


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise Missing("httpx is not installed; pip install 'vauban[http]'") from error
    return httpx
