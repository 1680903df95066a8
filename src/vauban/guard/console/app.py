"""The console as one application: what protects every page, and what goes wrong as pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from vauban.errors import GuardDown
from vauban.guard.console.access import Access
from vauban.guard.console.acts import acts
from vauban.guard.console.context import Context, Desk
from vauban.guard.console.desk import Away, Console, Forbidden
from vauban.guard.console.door import door
from vauban.guard.console.pages import HERE, Pages
from vauban.guard.console.views import views

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
MOST = 16 * 1024
"""Bytes that a form may have."""


def console_app(guard: Context) -> FastAPI:
    """The operators' pages of a guard, with `/metrics`, `/healthz` and `/readyz`; for a listener that devices do not reach."""
    desk = Desk.of(guard)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncGenerator[None]:
        yield
        desk.store.close()

    app = FastAPI(title="Vauban guard console", lifespan=living, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.console = Console(desk, Access(guard.config, guard.keys, desk.store, guard.ledger), Pages(desk))
    app.add_middleware(Shield)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    for routes in (door, views, acts):
        app.include_router(routes)
    handlers: list[tuple[type[Exception], ExceptionHandler]] = [
        (Away, _away), (Forbidden, _forbidden), (GuardDown, _down), (HTTPException, _wrong), (RequestValidationError, _wrong),
    ]  # fmt: skip
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
    return app


class Shield:
    """Headers for every answer, and an end to bodies that no form of ours has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _large(scope):
            await PlainTextResponse("too large\n", 413)(scope, receive, headed)
        else:
            await self.app(scope, receive, headed)


def _large(scope: Scope) -> bool:
    """Whether a body is too long, or does not say how long it is."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    return chunked or any(not value.isdigit() or int(value) > MOST for value in lengths)


def _away(request: Request, _: Exception) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": "/login"})
    return RedirectResponse("/login", 303)


def _forbidden(request: Request, error: Exception) -> Response:
    return _problem(request, 403, "Not allowed", str(error))


def _down(request: Request, error: Exception) -> Response:
    return _problem(request, 503, "The database does not answer", str(error))


def _wrong(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    if status == 400:
        return _problem(request, status, "Not understood", "Something in the request is not as the pages here write it.")
    return _problem(request, status, "Not found", "There is no such page here.")


def _problem(request: Request, status: int, title: str, said: str) -> Response:
    console: Console = request.app.state.console
    return console.pages.bare("problem", status, title=title, said=said)
