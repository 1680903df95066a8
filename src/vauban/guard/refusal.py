"""Why a request gets no decision: a closed list, so that an answer tells an attacker one of these and nothing more."""

from __future__ import annotations

from enum import Enum


class Code(Enum):
    """A refusal: its name on the wire, its HTTP status, its one sentence."""

    BAD_REQUEST = ("bad_request", 400, "The request is not as the interface describes it.")
    UNAUTHORISED = ("unauthorised", 401, "The credentials are not accepted.")
    NOT_FOUND = ("not_found", 404, "There is nothing here.")
    REPLAY = ("replay", 409, "This request was seen before.")
    TOO_LARGE = ("too_large", 413, "The body is larger than is accepted.")
    UNSUPPORTED = ("unsupported", 415, "The content type is not accepted; send image/jpeg, image/png or image/webp.")
    INVALID_IMAGE = ("invalid_image", 422, "The body is no image that is accepted.")
    LIMITED = ("limited", 429, "No more attempts are accepted now.")
    UNAVAILABLE = ("unavailable", 503, "No decision can be made now.")

    def __init__(self, word: str, status: int, sentence: str) -> None:
        self.word, self.status, self.sentence = word, status, sentence


class Refused(Exception):
    """A request that is refused.

    Attributes:
        code: what the asker is told.
        retry_after: seconds, for what is limited; told rounded up to minutes.
        why: for the guard's own log, never for the asker: which limit, which check.
    """

    def __init__(self, code: Code, why: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code.sentence)
        self.code, self.why, self.retry_after = code, why, retry_after
