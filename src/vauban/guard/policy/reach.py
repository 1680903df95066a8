"""Whether an address is one, and whether a guard is what answers there."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from vauban.errors import AccessDenied, BadEndpoint, BadRequest, GuardDown, Unreachable
from vauban.guard.client import Client, Device
from vauban.guard.refusal import Code

SESSIONS = "/v1/sessions"


def require_address(url: str) -> None:
    """Check that it can be the address of a guard.

    Raises:
        BadEndpoint: it cannot.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise BadEndpoint(f"{url!r} is no address of a guard; give one such as http://127.0.0.1:8080")


def require_guard(client: Client, *, signed: bool) -> None:
    """Check that a guard answers, and opens sessions: one is opened, and no attempt is made in it.

    Raises:
        Unreachable: nobody answers.
        AccessDenied: the guard does not know the key.
        GuardDown: it is unavailable.
        BadEndpoint: something else answers, or the guard opens no session.
    """
    url, device = client.url.rstrip("/"), Device()
    asked = {"device_key": device.public} if signed else {"device": device.name}
    try:
        answer = client.http.post(url + SESSIONS, json=asked, headers={"Authorization": f"Bearer {client.key}"})
    except httpx.TransportError as error:
        raise Unreachable(f"{url}: nobody answers ({type(error).__name__})") from error
    told = fields(answer.content)
    if answer.status_code < 300 and {"session_id", "client_token", "attempts_allowed"} <= told.keys():
        return
    word = told.get("type")
    if word == Code.UNAUTHORISED.word:
        raise AccessDenied(f"{url}: the guard does not accept the key; give that of a relying party in its configuration")
    if word == Code.UNAVAILABLE.word:
        raise GuardDown(f"{url}: is unavailable; it must be ready before it is probed")
    if word in (Code.BAD_REQUEST.word, Code.LIMITED.word):
        raise BadRequest(f"{url}: the guard opens no session ({word}); does it run with this configuration?")
    kind = answer.headers.get("content-type", "of no type").partition(";")[0]
    raise BadEndpoint(
        f"{url}: what answers there is no guard (status {answer.status_code}, {kind}); give the address of its listener for devices"
    )


def fields(body: bytes) -> dict[str, Any]:
    """What a body of JSON holds; nothing where it is none."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return cast("dict[str, Any]", told) if isinstance(told, dict) else {}
