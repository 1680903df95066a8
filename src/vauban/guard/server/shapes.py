"""What backends send and get, as pydantic checks it and OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["accept", "reject"]
Reference = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]

KEY = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
"""A public key for examples: of RFC 8032, section 7.1, test 1."""


class SessionRequest(BaseModel):
    """A session to be opened for one device."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"device_key": KEY, "account": "customer 4711", "purpose": "log in", "ttl": 300}]}
    )

    device: Reference | None = Field(None, description="The device's id, where the backend vouches for it; not with `device_key`.")
    device_key: Annotated[str, Field(max_length=400)] | None = Field(
        None, description="The device's public key, Ed25519 or P-256, as base64 of its DER form: every attempt must be signed with it."
    )
    account: Reference | None = Field(None, description="Whose account it is about. Only a keyed hash is stored.")
    purpose: Reference | None = Field(None, description="What the decision is for; kept in the ledger.")
    ttl: Annotated[int, Field(ge=60, le=86400)] | None = Field(
        None, description="Seconds until the token expires; at most the guard's own."
    )


class SessionOpened(BaseModel):
    """A session, and the token that its device needs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "9f0c5ad1e1a84ce3a1b0b5f4c7d2e6f8",
                    "client_token": "v1.1.eyJzaWQiOiI5ZjBjNWFkMSJ9.2Yk3m0t0l3JQ0m1k8h0Zt2d0l6m7n8o9p0q1r2s3t4u",
                    "expires_at": "2026-11-21T12:05:00Z",
                    "attempts_allowed": 3,
                }
            ]
        }
    )

    session_id: str = Field(description="For the backend: where it fetches the result, and with what the device signs.")
    client_token: str = Field(description="For the device alone, for this session.")
    expires_at: datetime = Field(description="When the token is good for nothing any more.")
    attempts_allowed: int = Field(description="How many attempts there are, those that come to nothing included.", ge=1)


class SessionResult(BaseModel):
    """What became of a session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session_id": "9f0c5ad1e1a84ce3a1b0b5f4c7d2e6f8",
                    "status": "decided",
                    "decision": "accept",
                    "attempts_used": 1,
                    "decided_at": "2026-11-21T12:01:07.25Z",
                    "receipt": "eyJhbGciOiJFZERTQSJ9.eyJkZWNpc2lvbiI6ImFjY2VwdCJ9.c2lnbmF0dXJl",
                }
            ]
        }
    )

    session_id: str = Field(description="As it was asked for.")
    status: Literal["open", "decided", "expired", "closed"] = Field(
        description="`open`: there may be more attempts; `decided`; `expired` or `closed`: it ended without an attempt."
    )
    decision: Decision | None = Field(description="null until it is decided, and for a session that ended without an attempt.")
    attempts_used: int = Field(description="Those that came to nothing included.", ge=0)
    decided_at: datetime | None = Field(description="null until it is decided.")
    receipt: str = Field(description="JSON Web Signature (EdDSA) over the same, for the files of the backend.")


class Received(BaseModel):
    """An attempt was received; the backend fetches what came of it."""

    status: Literal["received"]


class Decided(BaseModel):
    """What came of an attempt, where the guard tells devices."""

    decision: Decision
