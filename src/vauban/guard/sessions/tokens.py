"""Client tokens: `v1.<key id>.<payload>.<HMAC-SHA256>`. One algorithm, keys from the guard's ring only, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from vauban.guard.refusal import Code, Refused

LONGEST = 2000
_FORM = re.compile(r"v1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{1,1900})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a token says.

    Attributes:
        session: the session's id.
        device_key: what attempts must be signed with, as `devices.device_key` gives it; "" for none.
        expires: the database's seconds.
    """

    session: str
    device_key: str
    expires: float


class Tokens:
    """Makes and reads tokens.

    Args:
        ring: keys by id; the last one signs.
        audience: the guard's name: a token of another guard with the same keys is not taken.
    """

    def __init__(self, ring: Mapping[str, bytes], audience: str) -> None:
        self.ring, self.audience = dict(ring), audience
        self.signer = list(self.ring)[-1]

    def make(self, bearer: Bearer) -> str:
        """The token for a session."""
        told = {"sid": bearer.session, "key": bearer.device_key, "exp": bearer.expires, "aud": self.audience}
        signed = f"v1.{self.signer}.{_text(json.dumps(told, separators=(',', ':')).encode())}"
        return f"{signed}.{_text(self._mac(self.signer, signed))}"

    def read(self, token: str) -> Bearer:
        """What a token says, if it is this guard's.

        Raises:
            Refused: UNAUTHORISED, whatever is wrong with it.
        """
        found = _FORM.fullmatch(token) if len(token) <= LONGEST else None
        if found is None or found[1] not in self.ring:
            raise Refused(Code.UNAUTHORISED, "no token of this guard")
        mac = self._mac(found[1], token[: found.end(2)])
        if not hmac.compare_digest(_text(mac), found[3]):
            raise Refused(Code.UNAUTHORISED, "a token with a wrong code")
        told: dict[str, Any] = json.loads(_bytes(found[2]))
        if told["aud"] != self.audience:
            raise Refused(Code.UNAUTHORISED, "a token for another guard")
        return Bearer(told["sid"], told["key"], told["exp"])

    def _mac(self, key: str, signed: str) -> bytes:
        return hmac.digest(self.ring[key], signed.encode("ascii"), "sha256")


def stored(session: str) -> str:
    """A session's id as the database knows it."""
    return sha256(session.encode(errors="surrogatepass")).hexdigest()


def _text(told: bytes) -> str:
    return base64.urlsafe_b64encode(told).rstrip(b"=").decode("ascii")


def _bytes(told: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(told + "=" * (-len(told) % 4))
    except binascii.Error as error:
        raise Refused(Code.UNAUTHORISED, "a token that is no base64") from error
