"""The description of the interface (OpenAPI 3.1), for those who build backends and devices; a running guard serves it to nobody.

python -m vauban.guard.server.description > docs/schema/guard.openapi.json
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any, cast

from vauban.guard.refusal import Code
from vauban.guard.server.body import TYPES
from vauban.guard.server.problems import MEDIA, MINUTE, Problem
from vauban.guard.server.shapes import Decided, Received

DESCRIBED: dict[str, Any] = {
    "title": "Vauban guard",
    "version": "1",
    "summary": "Decides whether a picture is accepted, and tells those who ask as little as can be told.",
    "description": (
        "A backend opens a session for a device and hands the device its client token. The device hands in attempts with it. "
        "The backend fetches what came of them, with a receipt that the guard signed.\n\n"
        "Whoever is refused is told one problem of a closed list ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)), and never why."
    ),
    "openapi_tags": [
        {"name": "backend", "description": "For relying parties, with their API key."},
        {"name": "device", "description": "For devices, with the client token of a session."},
    ],
}
SECURITY = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "The API key of a relying party."},
    "clientToken": {"type": "http", "scheme": "bearer", "description": "The `client_token` of a session, for its device alone."},
}
SESSION = {"session_id": "$response.body#/session_id"}
OPENED: dict[int | str, dict[str, Any]] = {
    201: {
        "description": "The session is open.",
        "links": {
            "result": {"operationId": "fetchResult", "parameters": SESSION, "description": "What became of it."},
            "close": {"operationId": "closeSession", "parameters": SESSION, "description": "End it."},
        },
    }
}
ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {"model": Decided, "description": 'The decision, where the guard tells it to devices (`[session] mode = "direct"`).'},
    202: {"model": Received, "description": 'The attempt was received; the backend fetches what came of it (`mode = "two-phase"`).'},
}
HAND_IN: dict[str, Any] = {
    "requestBody": {
        "description": "One picture, not animated and not transparent.",
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
    }
}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_HEADERS: dict[Code, dict[str, Any]] = {
    Code.LIMITED: {"Retry-After": {"schema": {"type": "integer", "minimum": MINUTE}, "description": "Seconds, in whole minutes."}},
    Code.UNAUTHORISED: {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}, "description": "What is missing."}},
}


def backend(name: str, summary: str) -> dict[str, Any]:
    """What is said of an operation for backends."""
    return {"operation_id": name, "summary": summary, "tags": ["backend"], "openapi_extra": {"security": [{"apiKey": []}]}}


def device(name: str, summary: str, more: dict[str, Any]) -> dict[str, Any]:
    """What is said of an operation for devices."""
    return {"operation_id": name, "summary": summary, "tags": ["device"], "openapi_extra": {"security": [{"clientToken": []}], **more}}


def documented(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """What an operation's description says of its refusals."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        told = {"type": code.word, "title": code.sentence, "status": code.status}
        found[code.status] = {"description": code.sentence, "content": {MEDIA: {"schema": _PROBLEM, "example": told}}}
        if code in _HEADERS:
            found[code.status]["headers"] = _HEADERS[code]
    return found


def described(plain: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI says of the interface, and what it does not know: problems for its own errors, who may ask."""
    schemas = {
        name: told for name, told in plain["components"]["schemas"].items() if name not in ("HTTPValidationError", "ValidationError")
    }
    schemas["Problem"] = Problem.model_json_schema()
    paths = {path: {method: _operation(told) for method, told in item.items()} for path, item in plain["paths"].items()}
    return plain | {"paths": _tidy(paths), "components": {"schemas": _tidy(schemas), "securitySchemes": SECURITY}}


def text() -> str:
    """The description as it is published."""
    from vauban.guard.config import GuardFile
    from vauban.guard.server.app import create_app

    nobody = SimpleNamespace(config=GuardFile(), failed=None)  # to be described, never to be asked
    return json.dumps(create_app(cast("Any", nobody)).openapi(), indent=2, ensure_ascii=False) + "\n"


def _operation(told: dict[str, Any]) -> dict[str, Any]:
    """An operation without the answer to wrong parameters that FastAPI would give, and with headers that are left out rather than null."""
    answers = {
        status: answer for status, answer in told["responses"].items() if status < "300" or "application/json" not in answer["content"]
    }
    parameters = [_given(parameter) for parameter in told.get("parameters", ())]
    return told | {"responses": dict(sorted(answers.items()))} | ({"parameters": parameters} if parameters else {})


def _given(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in parameter["schema"].items() if key not in ("description", "anyOf", "examples")}
    for choice in parameter["schema"].get("anyOf", ()):
        schema |= choice if choice != {"type": "null"} else {}
    examples = parameter["schema"].get("examples", ())
    return parameter | {"schema": schema} | ({"example": examples[0]} if examples else {})


def _tidy(value: Any, names: bool = False) -> Any:
    """Without the titles that pydantic makes of names; the names of properties themselves and examples stay as they are."""
    if isinstance(value, list):
        return [_tidy(part) for part in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, part in cast("dict[str, Any]", value).items():
        if names or name != "title":
            found[name] = part if name in ("example", "examples") else _tidy(part, name == "properties" and not names)
    return found


if __name__ == "__main__":
    sys.stdout.write(text())
