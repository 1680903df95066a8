"""What a person says about an endpoint: how it is asked, how it answers, how patient, fast and dear the asking may be, and who allows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vauban.errors import BadPlan, NotAuthorised, nearest

KINDS = ("png", "jpeg", "npy", "list", "table")
"""How a row may be written: two kinds of picture, a NumPy file, nested lists of numbers, an object of named features."""
ROW, ROWS = "<row>", "<rows>"
"""The marks in a template: where one encoded row goes, and where the list of them goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How rows are put into a request.

    Attributes:
        encode: "png" or "jpeg" (pictures of 8 bits, base64 in JSON), "npy" (base64 in JSON), "list" (nested lists of numbers), "table" (an
            object of named features).
        body: the JSON template; "<row>" in it is one row and "<rows>" the list of them. By default {"input": "<row>"}, or
            {"inputs": "<rows>"} where `batch` is more than 1. A text may hold more than the mark: "data:image/png;base64,<row>".
        item: the template of one element of "<rows>", around "<row>".
        multipart: the name of the file field, to upload the row as a form instead of JSON.
        form: the other fields of that form.
        method, headers, query: of the request. `${NAME}` is read from the environment, and only secrets from there are accepted.
        batch: rows in one request at most.
        quality: of a JPEG, 1 to 100.
        integers: send whole numbers: True for the 256 levels between `lo` and `hi` (lists and npy), or the names of features that have no
            fractions (tables).
        decimals: how many digits after the point lists and tables keep; by default all.
        lo, hi: the inputs that are black and white, for what is sent in 8 bits.
        channels_last: lists and npy as height x width x channels.
        features: the names of the features, for a table.
    """

    encode: str = "png"
    body: Any = None
    item: Any = ROW
    multipart: str = ""
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    batch: int = 1
    quality: int = 95
    integers: bool | tuple[str, ...] = False
    decimals: int | None = None
    lo: float = 0.0
    hi: float = 1.0
    channels_last: bool = False
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.encode not in KINDS:
            raise BadPlan(f"encode = {self.encode!r} is no way to write a row; {nearest(self.encode, KINDS)}")
        _check("batch", self.batch, self.batch >= 1, "must be at least 1")
        _check("quality", self.quality, 1 <= self.quality <= 100, "must lie between 1 and 100")
        _check("decimals", self.decimals, self.decimals is None or 0 <= self.decimals <= 12, "must lie between 0 and 12")
        _check("hi", self.hi, self.hi > self.lo, f"must be more than lo = {self.lo:g}")
        if self.multipart and (self.batch > 1 or self.body is not None):
            raise BadPlan("multipart sends one row as a file: it goes with neither batch nor body")
        if self.form and not self.multipart:
            raise BadPlan("form holds the other fields of an upload; name the file field with multipart")
        if self.encode == "table" and not self.features:
            raise BadPlan('encode = "table" needs the names of the features, in the order of the columns')
        _check_marks(self)

    @property
    def template(self) -> Any:
        """The JSON template, with its default."""
        if self.body is not None:
            return self.body
        return {"inputs": ROWS} if self.batch > 1 else {"input": ROW}


def _check_marks(request: Request) -> None:
    """There is exactly one place for the rows."""
    if request.multipart:
        return
    one, many = (_count(request.template, mark) for mark in (ROW, ROWS))
    if one + many != 1:
        raise BadPlan(f'body has {one + many} places for what is sent; write "{ROW}" or "{ROWS}" in it once')
    if request.batch > 1 and not many:
        raise BadPlan(f'batch = {request.batch}: the body must say where the list of rows goes, with "{ROWS}"')
    if many and _count(request.item, ROW) != 1:
        raise BadPlan(f'item must say once where the row goes, with "{ROW}"')


def _count(template: Any, mark: str) -> int:
    if isinstance(template, str):
        return template.count(mark)
    if isinstance(template, Mapping):
        return sum(_count(v, mark) for v in template.values())
    return sum(_count(v, mark) for v in template) if isinstance(template, list | tuple) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an answer is read. The expressions are JMESPath, taken of the whole body, or of each element of `rows`.

    Attributes:
        rows: where the list of answers is, one for each row; needed where requests hold several.
        label: the predicted class, by name or number.
        scores: one number for each class in order, a mapping from class to number, or pairs of both; one number alone for a binary model.
        confidence: the score of the predicted class, where that is all that is shown of the scores; needs `label`.
        accept: true or false, for an endpoint that accepts or rejects: class 1 and class 0.
        classes: the names of the classes in order, or the index of each name.
        outputs: what the scores are: "logits", "probabilities", "log-probabilities", "sigmoid", "binary-logit", or "auto".
        refused_status: statuses that mean that this input was refused, such as 403 or 422.
        refused_if: an expression that is true of an answer that is a refusal.
        refused_text: a regular expression found in the body of a refusal.
    """

    rows: str = ""
    label: str = ""
    scores: str = ""
    confidence: str = ""
    accept: str = ""
    classes: tuple[str, ...] | Mapping[str, int] = ()
    outputs: str = "auto"
    refused_status: tuple[int, ...] = ()
    refused_if: str = ""
    refused_text: str = ""

    def __post_init__(self) -> None:
        if not (self.label or self.scores or self.accept):
            raise BadPlan("the answer needs label, scores or accept: an expression that finds it in the body")
        if self.accept and (self.label or self.scores or self.confidence):
            raise BadPlan("accept stands for an endpoint with two outcomes; it goes with neither label, scores nor confidence")
        if self.confidence and (self.scores or not self.label):
            raise BadPlan("confidence is the score of the predicted class: it needs label, and scores say it already")
        if self.confidence and len(self.classes) < 2:
            raise BadPlan("confidence needs classes: the rest of the score is shared among them")
        if isinstance(self.classes, Mapping) and sorted(set(self.classes.values())) != list(range(len(set(self.classes.values())))):
            raise BadPlan(f"classes maps names to {sorted(set(self.classes.values()))}; the indices must be 0, 1, 2, ... without a gap")
        try:
            re.compile(self.refused_text)
        except re.error as error:
            raise BadPlan(f"refused_text = {self.refused_text!r} is no regular expression: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How failures that may pass are met.

    Attributes:
        on: statuses after which the request is sent again.
        attempts: how often a request is sent at most.
        first, most: seconds of the backoff: a random time up to `first`, then up to twice that, ..., never more than `most`.
        patience: seconds that one request may take with all its waiting; an endpoint that asks to wait longer ends the campaign.
        give_up: requests that may fail one after the other before the endpoint counts as down.
    """

    on: tuple[int, ...] = (408, 425, 429, 500, 502, 503, 504)
    attempts: int = 6
    first: float = 0.5
    most: float = 60.0
    patience: float = 600.0
    give_up: int = 5

    def __post_init__(self) -> None:
        _check("attempts", self.attempts, self.attempts >= 1, "must be at least 1")
        _check("first", self.first, 0 <= self.first <= self.most, f"must lie between 0 and most = {self.most:g}")
        _check("patience", self.patience, self.patience > 0, "must be more than 0 seconds")
        _check("give_up", self.give_up, self.give_up >= 1, "must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Seconds: to connect, between two pieces of the answer, and for a whole attempt, however slowly it trickles; and bytes of an answer."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0
    largest: int = 10_000_000

    def __post_init__(self) -> None:
        for name in ("connect", "read", "total", "largest"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "must be more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests under way at once, and how many may be begun in a second or a minute, evenly spread; None for no limit."""

    concurrency: int = 4
    per_second: float | None = None
    per_minute: float | None = None

    def __post_init__(self) -> None:
        _check("concurrency", self.concurrency, self.concurrency >= 1, "must be at least 1")
        for name in ("per_second", "per_minute"):
            value = getattr(self, name)
            _check(name, value, value is None or value > 0, "must be more than 0")

    @property
    def interval(self) -> float:
        """Seconds between the beginnings of two requests; 0 for no limit."""
        second = 0.0 if self.per_second is None else 1 / self.per_second
        return max(second, 0.0 if self.per_minute is None else 60 / self.per_minute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What all questions together may cost: rows sent, attempts to send, money and seconds of asking; None for no limit."""

    rows: int | None = None
    requests: int | None = None
    money: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an attempt costs, in `unit`: something for the request, and something for each row in it."""

    per_request: float = 0.0
    per_row: float = 0.0
    unit: str = ""

    def of(self, rows: int, requests: int = 1) -> float:
        """The price of some requests with so many rows in all."""
        return self.per_request * requests + self.per_row * rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How steadiness is looked at before anything else: so many clean rows, each asked so often."""

    rows: int = 4
    repeats: int = 3


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Who allows the endpoint to be attacked.

    Attributes:
        statement: in a person's words: who allowed what, when, where it is written down.
        allowed_hosts: the hosts that may be sent to, "host" or "host:port"; no other one ever gets a byte.
    """

    statement: str
    allowed_hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.statement.strip()) < 10:
            raise NotAuthorised(
                "authorisation: the statement must say who allowed this endpoint to be attacked, and where that is written down"
            )
        if not self.allowed_hosts:
            raise NotAuthorised("authorisation: allowed_hosts must name the hosts that may be sent to")

    def check(self, host: str, port: int | None, what: str) -> None:
        """Whether a host may be sent to.

        Raises:
            NotAuthorised: it is not on the list.
        """
        names = {host.lower(), f"{host}:{port}".lower()}
        if not names & {h.lower() for h in self.allowed_hosts}:
            known = ", ".join(self.allowed_hosts)
            raise NotAuthorised(f"{what} {host!r}, which the authorisation does not allow (it allows {known}); nothing was sent there")


def _check(name: str, value: object, good: bool, must: str) -> None:
    if not good:
        raise BadPlan(f"{name} = {value} {must}")
