"""Send what is in the outbox to webhooks: signed, at least once, later and later when they fail, and never where they should not go."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import SplitResult

import httpx
from sqlalchemy import Float, Integer, String, and_, delete, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from vauban.errors import BadGuard
from vauban.guard.alerts.address import PORTS, Forbidden, parsed, pinned, shown
from vauban.guard.alerts.tables import deliveries, outbox
from vauban.guard.canonical import canonical
from vauban.guard.config.model import Webhook
from vauban.guard.storage import Store

TIMEOUT = 5.0
"""Seconds for one delivery, from the look-up of the name to the answer's head."""
LEASE = 60.0
"""Seconds that a delivery belongs to the process that took it."""
SLOWEST = 3600.0
GIVEN_UP = 86400.0
"""Seconds after which something that could not be told is not tried again."""
KEPT = 30 * 86400.0
AT_ONCE = 8
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def signature(secret: bytes, at: int, body: bytes) -> str:
    """What a receiver computes to know that a message is the guard's and fresh.

    Args:
        secret: of `secret_env`.
        at: the header `X-Vauban-Timestamp`, seconds since 1970; refuse what is older than a few minutes.
        body: the bytes of the request.

    Returns:
        The header `X-Vauban-Signature`: "v1=" and HMAC-SHA256 over `timestamp.body`, in hexadecimal.
    """
    return "v1=" + hmac.new(secret, str(at).encode() + b"." + body, sha256).hexdigest()


def wait(tries: int) -> float:
    """Seconds until the next try: 1, 2, 4, ... up to an hour.

    >>> [wait(n) for n in (1, 2, 5, 20)]
    [1.0, 2.0, 16.0, 3600.0]
    """
    return min(SLOWEST, 2.0 ** min(tries - 1, 20))


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, asked once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Hook:
    """A webhook with its secret.

    Attributes:
        id: the first 16 digits of the SHA-256 of its URL.
        parts: of its URL.
        secret: what messages to it are signed with.
        allow: networks it may be in although they are not public.
    """

    id: str
    parts: SplitResult
    secret: bytes = field(repr=False)
    allow: tuple[str, ...]


def hooks_of(webhooks: Sequence[Webhook], environ: Mapping[str, str] = os.environ) -> tuple[Hook, ...]:
    """The webhooks of a configuration.

    Raises:
        BadGuard: a URL is none, or a secret is not in the environment or too short.
    """
    return tuple(_hook(w, environ.get(w.secret_env, "")) for w in webhooks)


def _hook(webhook: Webhook, secret: str) -> Hook:
    if len(secret) < 16:
        raise BadGuard(
            f"webhook {shown(webhook.url)}: the environment variable {webhook.secret_env} must hold a secret of at least 16 characters"
        )
    return Hook(sha256(webhook.url.encode()).hexdigest()[:16], parsed(webhook.url), secret.encode(), webhook.allow)


@dataclass(frozen=True)
class Sender:
    """Tells webhooks what the outbox holds; any number of processes may each have one.

    Args:
        store: the database.
        guard: the guard's name, which messages carry.
        hooks: where to.
        resolve: how a name becomes addresses.
        trust: whose certificates are believed; None means the system's.
    """

    store: Store
    guard: str
    hooks: tuple[Hook, ...]
    resolve: Resolve = look_up
    trust: ssl.SSLContext | None = None

    def pump(self) -> int:
        """Try what is due, up to 8 messages at once; call it every second or so, from a thread in which no event loop runs.

        Returns:
            How many were tried.

        Raises:
            GuardDown: the database cannot be written.
        """
        if not self.hooks:
            return 0
        now, taken = self._take()
        if taken:
            outcomes = asyncio.run(self._all(taken, int(now)))
            self._settle(taken, outcomes)
        return len(taken)

    def _take(self) -> tuple[float, list[Any]]:
        ids = [hook.id for hook in self.hooks]
        with self.store.write() as tx:
            now = tx.now()
            for hook in ids:
                _spread(tx, hook, now)
            due = and_(deliveries.c.done.is_(None), deliveries.c.next <= now, deliveries.c.webhook.in_(ids))
            query = select(deliveries, outbox.c.body, outbox.c.at).join(outbox, outbox.c.id == deliveries.c.outbox).where(due)
            query = query.order_by(deliveries.c.next).limit(AT_ONCE).with_for_update(skip_locked=True, of=deliveries)
            taken = list(tx.run(query))
            for row in taken:
                tx.run(update(deliveries).where(_is(row)).values(tries=row.tries + 1, next=now + LEASE))
        return now, taken

    async def _all(self, taken: Sequence[Any], at: int) -> list[str]:
        hooks = {hook.id: hook for hook in self.hooks}
        return list(await asyncio.gather(*(self._told(hooks[row.webhook], row, at) for row in taken)))

    async def _told(self, hook: Hook, row: Any, at: int) -> str:
        """Send one message; what went wrong, or nothing."""
        body = canonical({"guard": self.guard, "delivery": row.outbox, **json.loads(row.body)}).encode()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._post(hook, body, row.outbox, at)
        except TimeoutError:
            return f"no answer in {TIMEOUT:g} s"
        except Forbidden as error:
            return str(error)
        except (httpx.HTTPError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    async def _post(self, hook: Hook, body: bytes, delivery: int, at: int) -> str:
        parts, encrypted = hook.parts, hook.parts.scheme == "https"
        host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        address = pinned(await self.resolve(host, port), hook.allow, encrypted)
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "vauban-guard",
            "X-Vauban-Delivery": str(delivery),
            "X-Vauban-Timestamp": str(at),
            "X-Vauban-Signature": signature(hook.secret, at, body),
        }
        url = httpx.URL(scheme=parts.scheme, host=address, port=port, raw_path=_path(parts))
        async with httpx.AsyncClient(verify=self.trust or True, follow_redirects=False, trust_env=False, timeout=TIMEOUT) as client:
            request = client.build_request("POST", url, content=body, headers=headers, extensions={"sni_hostname": host})
            answer = await client.send(request, stream=True)  # its body is nobody's business
            await answer.aclose()
        return "" if answer.is_success else f"answered {answer.status_code}"

    def _settle(self, taken: Sequence[Any], outcomes: Sequence[str]) -> None:
        with self.store.write() as tx:
            now = tx.now()
            for row, error in zip(taken, outcomes, strict=True):
                later = None if now - row.at > GIVEN_UP else now + wait(row.tries + 1)
                change = {"error": error[:200], "next": later} if error else {"done": now, "next": None, "error": None}
                tx.run(update(deliveries).where(_is(row)).values(**change))
            tx.run(delete(deliveries).where(deliveries.c.outbox.in_(select(outbox.c.id).where(outbox.c.at < now - KEPT))))
            tx.run(delete(outbox).where(outbox.c.at < now - KEPT))


def _spread(tx: Any, hook: str, now: float) -> None:
    """A delivery to this webhook for everything that has none yet; not for what is older than a day, when a webhook is new."""
    mine = and_(deliveries.c.outbox == outbox.c.id, deliveries.c.webhook == hook)
    values = [outbox.c.id, literal(hook, String), literal(0, Integer), literal(now, Float)]
    missing = (
        select(*values).select_from(outbox.outerjoin(deliveries, mine)).where(deliveries.c.outbox.is_(None), outbox.c.at > now - GIVEN_UP)
    )
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    tx.run(dialect.insert(deliveries).from_select(["outbox", "webhook", "tries", "next"], missing).on_conflict_do_nothing())


def _is(row: Any) -> Any:
    return and_(deliveries.c.outbox == row.outbox, deliveries.c.webhook == row.webhook)


def _path(parts: SplitResult) -> bytes:
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("ascii")
