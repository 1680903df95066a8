"""HTTP by hand: what no client would send, sent over a socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """A connection to a server."""

    def __init__(self, held: socket.socket) -> None:
        self.held, self.rest = held, b""

    def send(self, *parts: bytes) -> None:
        """Send, whether or not anybody listens still."""
        for part in parts:
            try:
                self.held.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                return

    def trickle(self, parts: bytes, pause: float) -> float:
        """Send a byte at a time until all is sent or something is answered; the seconds that it took."""
        began = time.monotonic()
        self.held.setblocking(False)
        try:
            for at in range(len(parts)):
                try:
                    self.held.send(parts[at : at + 1])
                    self.rest += self.held.recv(65536)
                    break
                except BlockingIOError:
                    time.sleep(pause)
                except (BrokenPipeError, ConnectionResetError):
                    break
        finally:
            self.held.settimeout(15)
        return time.monotonic() - began

    def answer(self) -> Answer | None:
        """The next answer; None if the connection was closed before it was whole."""
        while b"\r\n\r\n" not in self.rest:
            if not self._more():
                return None
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        status = int(line.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        length = 0 if status in (100, 204) else int(headers["content-length"])
        while len(self.rest) < length:
            if not self._more():
                return None
        body, self.rest = self.rest[:length], self.rest[length:]
        return Answer(status, headers, body)

    def closed(self) -> bool:
        """Whether the other side closes without a further word."""
        return not self.rest and not self._more()

    def _more(self) -> bool:
        try:
            part = self.held.recv(65536)
        except (ConnectionResetError, TimeoutError):
            return False
        self.rest += part
        return bool(part)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection to the server at a URL."""
    to = urlsplit(url)
    with socket.create_connection((to.hostname, to.port), timeout=15) as held:
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(held)


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"", version: str = "1.1", length: bool = True) -> bytes:
    """A request as bytes, with its length among the headers unless it is said otherwise."""
    fields = {"Host": "guard", **headers, **({"Content-Length": str(len(body))} if length else {})}
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def pieces(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks, as Transfer-Encoding has them."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
