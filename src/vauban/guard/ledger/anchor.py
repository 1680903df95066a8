"""Checkpoints: the heads of all chains, signed, one line each in a file outside the database; each names the line before."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vauban.errors import BadLedger, GuardDown
from vauban.guard.keys import Keys, key_id, verified

START = "0" * 64
"""What the first line names as the one before."""
LONGEST = 1 << 20
"""Bytes that the last line may have."""
Heads = Mapping[str, tuple[int, str]]


@dataclass(frozen=True)
class Checkpoint:
    """What was signed.

    Attributes:
        number: 1, 2, 3, ... in this file.
        at: seconds since 1970, by the database's clock.
        node: who signed.
        heads: per chain how many rows it had, and the code of the last one in hexadecimal.
        before: SHA-256 of the line before.
        digest: SHA-256 of this line.
    """

    number: int
    at: float
    node: str
    heads: Heads
    before: str
    digest: str


def anchored(
    keys: Keys,
    node: str,
    path: Path,
    every: float,
    look: Callable[[], tuple[float, Heads]],
    mac: Callable[[str, int], str | None],
) -> Checkpoint | None:
    """Append a checkpoint to the file, once the last one is found to be still true.

    Args:
        every: seconds; nothing is done when the last checkpoint is younger.
        look: reads the time and the heads; asked while the file is locked, so that numbers, times and heads rise together.
        mac: reads the code of a row, or None where it is missing.

    Raises:
        BadLedger: the last checkpoint is no longer true of the database.
        GuardDown: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", opener=_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            last, (now, current) = _last(file, path, keys.public), look()
            if last and now - last.at < every:
                return None
            if last:
                _still_true(last, current, mac)
            line = _line(keys, last.number + 1 if last else 1, now, node, current, last.digest if last else START)
            file.write(_torn(file) + line + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise GuardDown(f"{path}: checkpoints of the ledger cannot be written: {error.strerror or error}") from error
    return read_line(line, keys.public)


def _private(path: str, flags: int) -> int:
    """Opens a file that, if it is new, only its owner may read."""
    return os.open(path, flags, 0o600)


def checkpoints(path: Path, key: Ed25519PublicKey) -> Iterator[Checkpoint | str]:
    """Every checkpoint of a file in order, or for a line that is none, and then no more, what is wrong with it.

    Raises:
        BadLedger: the file is not there or cannot be read.
    """
    before, number, place, whole = START, 0, 0, 0
    try:
        with path.open("rb") as file:
            for place, line in enumerate(file, 1):
                if not _whole(line):
                    continue
                whole += 1
                try:
                    found = read_line(line.rstrip(b"\n"), key)
                except BadLedger as error:
                    yield f"line {place} {error}"
                    return
                if (found.number, found.before) != (number + 1, before):
                    yield f"line {place} does not follow the line before: lines were taken out, put in or reordered"
                    return
                before, number = found.digest, found.number
                yield found
    except OSError as error:
        raise BadLedger(f"{path}: the ledger's checkpoints cannot be read: {error.strerror or error}") from error
    if place and not whole:
        raise BadLedger(f"{path}: is no file of checkpoints")


def read_line(line: bytes, key: Ed25519PublicKey) -> Checkpoint:
    """A line of the file, if the key signed it.

    Raises:
        BadLedger: it is none, or the signature is not this key's.
    """
    try:
        told = json.loads(line)
        body, signature, signer = told["checkpoint"], bytes.fromhex(told["signature"]), told["key"]
        message = _message(body)
        heads = {str(n): (int(seq), str(mac)) for n, (seq, mac) in body["heads"].items()}
        found = Checkpoint(int(body["number"]), float(body["at"]), str(body["node"]), heads, str(body["before"]), _digest(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadLedger("is no checkpoint") from error
    if signer != key_id(key):
        raise BadLedger(f"is signed with the key {str(signer)[:16]}; this guard's is {key_id(key)}")
    if not verified(key, signature, message):
        raise BadLedger("was changed: its signature does not fit")
    return found


def _line(keys: Keys, number: int, at: float, node: str, heads: Heads, before: str) -> bytes:
    body = {"number": number, "at": at, "node": node, "heads": {n: list(h) for n, h in heads.items()}, "before": before}
    told = {"checkpoint": body, "signature": keys.signing.sign(_message(body)).hex(), "key": key_id(keys.public)}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def _message(body: Mapping[str, object]) -> bytes:
    return b"vauban ledger checkpoint\0" + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _digest(line: bytes) -> str:
    return sha256(line).hexdigest()


def _last(file: IO[bytes], path: Path, key: Ed25519PublicKey) -> Checkpoint | None:
    """The last checkpoint, found from the end: the file may have grown for years."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - LONGEST))
    lines = [line for line in file.read().splitlines() if _whole(line)]
    if not lines:
        return None
    try:
        return read_line(lines[-1], key)
    except BadLedger as error:
        raise BadLedger(f"{path}: the last line {error}") from error


def _whole(line: bytes) -> bool:
    """Whether a line is not one that a crash or a full disk cut short; hiding a checkpoint so is seen at the next, which names it."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _torn(file: IO[bytes]) -> bytes:
    """What ends a line that was cut short, so that the next is one of its own."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _still_true(last: Checkpoint, current: Heads, mac: Callable[[str, int], str | None]) -> None:
    for node, (seq, was) in last.heads.items():
        held = current.get(node, (0, ""))[0]
        if held < seq:
            raise BadLedger(f'ledger of "{node}": row {held + 1} is missing: checkpoint {last.number} signed {seq} rows, {held} are left')
        if seq and mac(node, seq) != was:
            raise BadLedger(f'ledger of "{node}": row {seq} is not the one that checkpoint {last.number} signed')
