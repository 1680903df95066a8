"""Decodes images in processes of their own, which are replaced when they die."""

from __future__ import annotations

import json
import queue
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vauban.errors import BadGuard, GuardDown
from vauban.guard.images.picture import Picture, Pixels, Size
from vauban.guard.refusal import Code, Refused

WORKER = Path(__file__).with_name("worker.py")
HEAD, ASK = struct.Struct(">cI"), struct.Struct(">II")
START = 10.0
"""Seconds that a process may take to be ready."""


class Decoder:
    """Decodes JPEG, PNG and WebP files of one picture. Any number of threads may ask.

    Args:
        sizes: (height, width) in which pictures are wanted; a picture is scaled to each whatever its own shape, as models are trained on it.
        pixels: that an image may have; told by its header, before it is decoded.
        processes: how many decode at once.
        seconds: that one picture may take, waiting included.
        cpu: seconds of computing that one picture may take.

    Raises:
        BadGuard: no sizes.
        GuardDown: no process could be started.
    """

    def __init__(self, sizes: Iterable[Size], pixels: int = 4_000_000, processes: int = 1, seconds: float = 5.0, cpu: float = 1.0) -> None:
        self.want(sizes)
        self.seconds = seconds
        told = json.dumps({"pixels": pixels, "cpu": cpu})
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._all = [_Process(told) for _ in range(processes)]
        for process in self._all:
            process.start()
            self._free.put(process)

    def want(self, sizes: Iterable[Size]) -> None:
        """Give pictures in these sizes from now on: another ensemble may want others.

        Raises:
            BadGuard: no sizes.
        """
        wanted = tuple(sorted(set(sizes)))
        if not wanted or min(min(size) for size in wanted) < 1:
            raise BadGuard(f"sizes = {wanted} must be one or more of (height, width)")
        self.sizes = wanted

    def decode(self, body: bytes) -> Picture:
        """The picture in a file.

        Raises:
            Refused: the file is no picture that is accepted (INVALID_IMAGE); decided by the file alone.
            GuardDown: no process was free, or answered, in time.
        """
        end = time.monotonic() + self.seconds
        try:
            process = self._free.get(timeout=self.seconds)
        except queue.Empty as error:
            raise GuardDown(f"images: no process became free in {self.seconds:g} s") from error
        try:
            sizes = self.sizes
            return _picture(process.asked(body, sizes, end), sizes)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End all processes."""
        for process in self._all:
            process.stop()


def _picture(found: bytes, sizes: tuple[Size, ...]) -> Picture:
    flat, at, parts = np.frombuffer(found, np.uint8), 0, list[Pixels]()
    for height, width in sizes:
        parts.append(flat[at : at + 3 * height * width].reshape(height, width, 3))
        at += 3 * height * width
    return Picture.of(parts)


class _Died(Exception):
    """The process ended while it was at work."""


class _Process:
    """One process that decodes; asked by one thread at a time."""

    def __init__(self, told: str) -> None:
        self.told = told
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None

    def asked(self, body: bytes, sizes: tuple[Size, ...], end: float) -> bytes:
        """What comes of a body. An image at which the process dies twice is refused; one death may have another cause."""
        for _ in range(2):
            try:
                return self._once(body, sizes, end)
            except _Died:
                if self.stop() == -signal.SIGPROF:
                    raise Refused(Code.INVALID_IMAGE, "decoding took too long") from None
            except TimeoutError as error:
                self.stop()
                raise GuardDown("images: decoding took too long") from error
        raise Refused(Code.INVALID_IMAGE, "the decoder died of it, twice")

    def _once(self, body: bytes, sizes: tuple[Size, ...], end: float) -> bytes:
        connection = self.connection or self.start()
        try:
            wanted = json.dumps(sizes).encode()
            connection.settimeout(max(0.001, end - time.monotonic()))
            connection.sendall(ASK.pack(len(wanted), len(body)) + wanted + body)
            kind, found = _reply(connection, end)
        except (EOFError, ConnectionError) as error:
            raise _Died from error
        if kind != b"\0":
            raise Refused(Code.INVALID_IMAGE, found.decode(errors="replace"))
        return found

    def start(self) -> socket.socket:
        """Start the process, without this one's environment, which may hold secrets."""
        ours, theirs = socket.socketpair()
        with theirs:
            command, none = [sys.executable, "-I", "-W", "ignore", str(WORKER), self.told], subprocess.DEVNULL
            try:
                self.process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=none, stderr=none, env={}, cwd="/")  # noqa: S603
            except OSError as error:
                raise GuardDown(f"images: no process could be started: {error.strerror or error}") from error
        self.connection = ours
        try:
            _reply(ours, time.monotonic() + START)
        except (EOFError, OSError) as error:
            self.stop()
            raise GuardDown("images: the decoding process does not start") from error
        return ours

    def stop(self) -> int | None:
        """End the process; how it ended."""
        process, connection, self.process, self.connection = self.process, self.connection, None, None
        if connection is not None:
            connection.close()
        if process is None:
            return None
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _reply(connection: socket.socket, end: float) -> tuple[bytes, bytes]:
    kind, length = HEAD.unpack(_received(connection, HEAD.size, end))
    return kind, _received(connection, length, end)


def _received(connection: socket.socket, count: int, end: float) -> bytes:
    found = bytearray()
    while len(found) < count:
        connection.settimeout(max(0.001, end - time.monotonic()))
        part = connection.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)
