"""Logging in and out, and what machines ask: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from vauban.errors import GuardDown
from vauban.guard.console.access import COOKIE, LONGEST, TooMany
from vauban.guard.console.desk import Here, Viewer, same_site
from vauban.guard.console.readings.now import checks
from vauban.guard.metrics import TYPE

LOCAL = ("127.0.0.1", "localhost", "::1")
door = APIRouter()


@door.get("/healthz")
def healthz() -> Response:
    """Whether this process answers."""
    return PlainTextResponse("ok\n")


@door.get("/readyz")
def readyz(here: Here) -> Response:
    """Whether decisions can be made; what is missing is told to operators only."""
    guard = here.desk.guard
    try:
        with guard.store.read() as tx:
            ready = all(check.state != "bad" for check in checks(tx, guard.config))
    except GuardDown:
        ready = False
    return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)


@door.get("/metrics")
def metrics(request: Request, here: Here) -> Response:
    """For Prometheus, with the key of any operator as a bearer token."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or here.access.operator(key.strip()) is None:
        return PlainTextResponse("an operator's key is wanted\n", 401, {"WWW-Authenticate": "Bearer"})
    return Response(here.desk.guard.metrics.page(here.desk.store), media_type=TYPE)


@door.get("/login")
def asked(here: Here) -> HTMLResponse:
    """The form for a key."""
    return here.pages.bare("login", wrong="")


@door.post("/login")
def login(request: Request, here: Here, key: Annotated[str, Form(max_length=500)]) -> Response:
    """Open a session with a key."""
    same_site(request)
    try:
        cookie = here.access.login(key.strip())
    except TooMany:
        return here.pages.bare("login", 429, wrong="Too many wrong keys; try again in a minute.")
    if cookie is None:
        return here.pages.bare("login", 401, wrong="This key is nobody's.")
    answer = RedirectResponse("/", 303)
    plain = request.url.scheme == "http" and request.url.hostname in LOCAL
    answer.set_cookie(COOKIE, cookie, max_age=int(LONGEST), httponly=True, samesite="strict", secure=not plain, path="/")
    return answer


@door.post("/logout")
def logout(here: Here, who: Viewer) -> Response:
    """End it."""
    here.access.logout(who)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer
