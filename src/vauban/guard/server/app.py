"""The listener of devices and backends: four operations, and nothing about the models in any answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, FastAPI, Header, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from vauban.guard.refusal import Code, Refused
from vauban.guard.server.body import body_of
from vauban.guard.server.bounded import Bounded
from vauban.guard.server.description import ANSWERED, DESCRIBED, HAND_IN, OPENED, backend, described, device, documented
from vauban.guard.server.door import Door
from vauban.guard.server.problems import problem, refused
from vauban.guard.server.shapes import SessionOpened, SessionRequest, SessionResult
from vauban.guard.server.slots import Slots, arrived, in_slots
from vauban.guard.server.stopped import Stopped
from vauban.guard.service import Asked, Guard

ATTEMPTS = "/v1/attempts"
RECEIVED, ACCEPTED, REJECTED = b'{"status":"received"}', b'{"decision":"accept"}', b'{"decision":"reject"}'
BACKEND = (Code.BAD_REQUEST, Code.UNAUTHORISED, Code.UNAVAILABLE)
DEVICE = (*BACKEND, Code.REPLAY, Code.TOO_LARGE, Code.UNSUPPORTED, Code.INVALID_IMAGE, Code.LIMITED)
SPOKEN = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND, 413: Code.TOO_LARGE}
SessionId = Annotated[str, Path(min_length=1, max_length=100, description="As it was given when the session was opened.")]
Bearer = Annotated[str, Header(alias="Authorization", max_length=2000, include_in_schema=False)]
Idempotency = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[a-zA-Z0-9_-]{1,64}$",
        description="The same key with the same request gives the same session, however often it is sent; with another request it is refused.",
    ),
]
Nonce = Annotated[
    str,
    Header(
        alias="X-Vauban-Nonce",
        pattern=r"^[A-Za-z0-9_-]{16,64}$",
        description="Never used before in the session.",
        examples=["q2eYt1Zp0VbX4mR8sK7dLw"],
    ),
]
Stamp = Annotated[
    str,
    Header(
        alias="X-Vauban-Timestamp",
        pattern=r"^[0-9]{1,12}$",
        description="The device's seconds since 1970; 30 s off at most.",
        examples=["1795262400"],
    ),
]
Signature = Annotated[
    str | None,
    Header(
        alias="X-Vauban-Signature",
        max_length=200,
        description="base64 of the device's signature over method, path, session, nonce, timestamp and the body's SHA-256, a line each.",
    ),
]


def create_app(guard: Guard) -> FastAPI:
    """The application for a guard, with the description of its interface in `app.openapi()`; it is served to nobody."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncGenerator[None]:
        yield
        app.state.door.close()

    app = FastAPI(**DESCRIBED, lifespan=living, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.door = Door(guard.failed)
    app.add_middleware(Bounded, seconds=guard.config.listen.body_timeout, besides=ATTEMPTS)
    app.add_middleware(Stopped)
    _quieten(app)
    _backend(app, guard)
    _device(app, guard)
    plain = app.openapi
    app.openapi = lambda: described(plain())
    return app


def _quieten(app: FastAPI) -> None:
    """Whatever goes wrong anywhere is told from the closed list."""

    async def invalid(_: Request, __: Exception) -> Response:
        return problem(Code.BAD_REQUEST)

    async def other(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return problem(SPOKEN.get(status, Code.BAD_REQUEST if status < 500 else Code.UNAVAILABLE))

    handlers: list[tuple[type[Exception], ExceptionHandler]] = [
        (RequestValidationError, invalid), (HTTPException, other), (Refused, refused), (Exception, refused),
    ]  # fmt: skip
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _backend(app: FastAPI, guard: Guard) -> None:
    door: Door = app.state.door

    @app.post("/v1/sessions", status_code=201, response_model=SessionOpened, responses=OPENED | documented(*BACKEND, Code.TOO_LARGE),
              **backend("openSession", "Open a session for one device"))  # fmt: skip
    async def open_session(asked: SessionRequest, key: Bearer = "", idempotency: Idempotency = None) -> SessionOpened:
        """The session's id is for the backend, the client token for the device alone: with it the device hands in its attempts."""
        return await door.work(partial(guard.open, _bare(key), asked, idempotency))

    @app.get("/v1/sessions/{session_id}/result", response_model=SessionResult, response_description="How the session stands.",
             responses=documented(*BACKEND, Code.NOT_FOUND), **backend("fetchResult", "What became of a session, with a signed receipt"))  # fmt: skip
    async def fetch_result(session_id: SessionId, key: Bearer = "") -> SessionResult:
        """Once a session is decided or over, fetching its result ends it, and the answer stays the same."""
        return await door.work(partial(guard.result, _bare(key), session_id))

    @app.delete("/v1/sessions/{session_id}", status_code=204, response_description="The session is over.",
                responses=documented(*BACKEND, Code.NOT_FOUND), **backend("closeSession", "End a session"))  # fmt: skip
    async def close_session(session_id: SessionId, key: Bearer = "") -> Response:
        """Its token is good for nothing any more. Ending it again changes nothing."""
        await door.work(partial(guard.close, _bare(key), session_id))
        return Response(status_code=204)


def _device(app: FastAPI, guard: Guard) -> None:
    door, listen, direct = app.state.door, guard.config.listen, guard.config.session.mode == "direct"
    router = APIRouter(route_class=in_slots(Slots(listen.slot)))

    @router.post(ATTEMPTS, status_code=200 if direct else 202, responses=ANSWERED | documented(*DEVICE), response_class=Response,
                 **device("handInAttempt", "Hand in one attempt of a session: an image", HAND_IN))  # fmt: skip
    async def hand_in(request: Request, nonce: Nonce, timestamp: Stamp, token: Bearer = "", signature: Signature = None) -> Response:
        """Costs one of the attempts that the session, the device and its account have left, whatever comes of it.

        Every answer leaves at the end of a time slot.
        """
        network = guard.network(request.client.host if request.client else "", request.headers.getlist("x-forwarded-for"))
        asked = Asked(_bare(token), nonce, int(timestamp), signature, network)
        try:
            calm = partial(guard.throttle, asked.network)
            await door.work(calm) if guard.burst.waits else calm()
            body = await body_of(request, listen.body, listen.body_timeout)
            arrived(request)
            accept = await door.work(partial(guard.attempt, asked.of(body, sha256(body).hexdigest())))
        except Refused as error:
            guard.refused(error)
            return problem(error.code, error.retry_after)
        if not direct:
            return Response(RECEIVED, 202, media_type="application/json")
        return Response(ACCEPTED if accept else REJECTED, 200, media_type="application/json")

    app.include_router(router)


def _bare(header: str) -> str:
    """What stands after "Bearer"."""
    kind, _, word = header.partition(" ")
    return word.strip() if kind.lower() == "bearer" else ""
