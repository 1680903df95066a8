"""What backends send and get, as pydantic checks it and OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["accept", "reject"]
Reference = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]


class SessionRequest(BaseModel):
    """A session to be opened for one device."""

    model_config = ConfigDict(extra="forbid")

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

    session_id: str
    client_token: str = Field(description="For the device alone: single-use, for this session.")
    expires_at: datetime
    attempts_allowed: int


class SessionResult(BaseModel):
    """What became of a session."""

    session_id: str
    status: Literal["open", "decided", "expired", "closed"]
    decision: Decision | None
    attempts_used: int
    decided_at: datetime | None
    receipt: str = Field(description="JSON Web Signature (EdDSA) over the same, for the files of the backend.")


class Received(BaseModel):
    """An attempt was received; the backend fetches what came of it."""

    status: Literal["received"] = "received"


class Decided(BaseModel):
    """What came of an attempt, where the guard tells devices."""

    decision: Decision
