"""The listener of devices and backends: four operations, and nothing about the models in any answer."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Annotated

from fastapi import FastAPI, Header, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from vauban.guard.refusal import Code, Refused
from vauban.guard.server.body import TYPES, body_of
from vauban.guard.server.door import Door
from vauban.guard.server.problems import Problem, documented, problem, refused
from vauban.guard.server.shapes import Decided, Received, SessionOpened, SessionRequest, SessionResult
from vauban.guard.server.slots import Slots
from vauban.guard.service import Asked, Guard

RECEIVED, ACCEPTED, REJECTED = b'{"status":"received"}', b'{"decision":"accept"}', b'{"decision":"reject"}'
BACKEND = (Code.BAD_REQUEST, Code.UNAUTHORISED, Code.LIMITED, Code.UNAVAILABLE)
DEVICE = (*BACKEND, Code.REPLAY, Code.TOO_LARGE, Code.UNSUPPORTED, Code.INVALID_IMAGE)
SessionId = Annotated[str, Path(min_length=1, max_length=100, description="As it was given when the session was opened.")]
Bearer = Annotated[str, Header(alias="Authorization", max_length=500, description="`Bearer` and the API key.")]
Token = Annotated[str, Header(alias="Authorization", max_length=2000, description="`Bearer` and the client token.")]
Nonce = Annotated[str, Header(alias="X-Vauban-Nonce", pattern=r"^[A-Za-z0-9_-]{16,64}$", description="Never used before in the session.")]
Stamp = Annotated[str, Header(alias="X-Vauban-Timestamp", pattern=r"^[0-9]{1,12}$", description="Seconds since 1970.")]
Signature = Annotated[
    str | None,
    Header(
        alias="X-Vauban-Signature",
        max_length=200,
        description="base64 of the device's signature over method, path, session, nonce, timestamp and the body's SHA-256, a line each.",
    ),
]
IMAGE = {"requestBody": {"required": True, "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES}}}


def create_app(guard: Guard) -> FastAPI:
    """The application for a guard, with the description of its interface in `app.openapi()`; it is served to nobody."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncGenerator[None]:
        yield
        app.state.door.close()

    app = FastAPI(
        title="Vauban guard", version="1", lifespan=living, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.door = Door(guard.failed)
    _quieten(app)
    _backend(app, guard)
    _device(app, guard)
    return app


def _quieten(app: FastAPI) -> None:
    """Whatever goes wrong anywhere is told from the closed list."""

    async def invalid(_: Request, __: Exception) -> Response:
        return problem(Code.BAD_REQUEST)

    async def other(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return problem({404: Code.NOT_FOUND, 405: Code.NOT_FOUND}.get(status, Code.BAD_REQUEST if status < 500 else Code.UNAVAILABLE))

    handlers: list[tuple[type[Exception], ExceptionHandler]] = [
        (RequestValidationError, invalid), (HTTPException, other), (Refused, refused), (Exception, refused),
    ]  # fmt: skip
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _backend(app: FastAPI, guard: Guard) -> None:
    door: Door = app.state.door

    @app.post("/v1/sessions", status_code=201, response_model=SessionOpened, responses=documented(*BACKEND), tags=["backend"])
    async def open_session(
        asked: SessionRequest,
        key: Bearer,
        idempotency: Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[a-zA-Z0-9_-]{1,64}$")] = None,
    ) -> SessionOpened:
        """Open a session for one device; the same Idempotency-Key with the same request gives the same session."""
        return await door.work(partial(guard.open, _bare(key), asked, idempotency))

    @app.get(
        "/v1/sessions/{session_id}/result", response_model=SessionResult, responses=documented(*BACKEND, Code.NOT_FOUND), tags=["backend"]
    )
    async def fetch_result(session_id: SessionId, key: Bearer) -> SessionResult:
        """What became of a session, with a signed receipt."""
        return await door.work(partial(guard.result, _bare(key), session_id))

    @app.delete("/v1/sessions/{session_id}", status_code=204, responses=documented(*BACKEND, Code.NOT_FOUND), tags=["backend"])
    async def close_session(session_id: SessionId, key: Bearer) -> Response:
        """End a session: its token is good for nothing any more."""
        await door.work(partial(guard.close, _bare(key), session_id))
        return Response(status_code=204)


def _device(app: FastAPI, guard: Guard) -> None:
    door, slots, direct = app.state.door, Slots(guard.config.listen.slot), guard.config.session.mode == "direct"

    async def attempt(request: Request, asked: Asked) -> Response:
        listen = guard.config.listen
        try:
            await door.work(partial(guard.throttle, asked.network))
            body = await body_of(request, listen.body, listen.body_timeout)
            accept = await door.work(partial(guard.attempt, asked.of(body, sha256(body).hexdigest())))
        except Refused as error:
            guard.refused(error)
            return problem(error.code, error.retry_after)
        if not direct:
            return Response(RECEIVED, 202, media_type="application/json")
        return Response(ACCEPTED if accept else REJECTED, 200, media_type="application/json")

    @app.post(
        "/v1/attempts",
        status_code=200 if direct else 202,
        response_model=Decided if direct else Received,
        responses=documented(*DEVICE),
        openapi_extra=IMAGE,
        tags=["device"],
    )
    async def hand_in(request: Request, token: Token, nonce: Nonce, timestamp: Stamp, signature: Signature = None) -> Response:
        """Hand in one attempt of a session: an image. Every answer leaves at the end of a time slot."""
        began = time.monotonic()
        network = guard.network(request.client.host if request.client else "", request.headers.getlist("x-forwarded-for"))
        asked = Asked(_bare(token), nonce, int(timestamp), signature, network)
        answer = await attempt(request, asked)
        await slots.wait(began)
        return answer


def _bare(header: str) -> str:
    """What stands after "Bearer"."""
    kind, _, word = header.partition(" ")
    return word.strip() if kind.lower() == "bearer" else ""


__all__ = ["Problem", "create_app"]
