"""What may stand under `[target.http]`: how a remote model is asked, how its answers are read, and what asking may cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from vauban.campaign.file.table import Table

Positive = Annotated[float, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]
Whole = Annotated[int, Field(ge=1)]


class AuthorisationTable(Table):
    """Who allows the endpoint to be attacked. Nothing is sent without it."""

    statement: Annotated[str, Field(min_length=10)]
    """In words: who allowed what, when, and where that is written down."""
    allowed_hosts: Annotated[list[str], Field(min_length=1)]
    """The hosts that may be sent to, "host" or "host:port"; no other one ever gets a byte, after redirections neither."""


class RequestTable(Table):
    """How rows are put into a request. `${NAME}` in headers, query, form and body is read from the environment."""

    encode: Literal["png", "jpeg", "npy", "list", "table"] = "png"
    """How a row is written: a PNG or JPEG of 8 bits or a NumPy file (in base64, where the request is JSON), nested lists of numbers, or an
    object of named features."""
    body: dict[str, Any] | list[Any] | str | None = None
    """The JSON template: `<row>` in it is one row, `<rows>` the list of them. By default `{ input = "<row>" }`, or `{ inputs = "<rows>" }`
    where batch is more than 1."""
    item: dict[str, Any] | list[Any] | str = "<row>"
    """The template of one element of `<rows>`, such as `{ b64 = "<row>" }`."""
    multipart: str = ""
    """The name of the file field, to upload the row as a form instead."""
    form: dict[str, str] = Field(default={})
    """The other fields of that form."""
    method: str = "POST"
    """The method of the request."""
    headers: dict[str, str] = Field(default={})
    """Headers, such as Authorization = "Bearer ${TOKEN}"; secrets are only taken from the environment."""
    query: dict[str, str] = Field(default={})
    """Parameters of the address."""
    batch: Whole = 1
    """Rows in one request at most."""
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Of a JPEG."""
    integers: bool | list[str] = False
    """Send whole numbers: true for 256 levels (lists, npy), or the names of the features that have no fractions (tables)."""
    decimals: Annotated[int, Field(ge=0, le=12)] | None = None
    """Digits after the point that lists and tables keep; by default all."""
    lo: float | None = None
    """The input that is sent as 0 where 8 bits are sent; by default the least that the data can have."""
    hi: float | None = None
    """The input that is sent as 255; by default the greatest that the data can have."""
    channels_last: bool = False
    """Lists and npy as height x width x channels."""
    features: list[str] = Field(default=[])
    """The names of the features of a table, in order; by default those of the data."""


class AnswerTable(Table):
    """How an answer is read. Expressions are JMESPath, taken of the whole body, or of each element of `rows`."""

    rows: str = ""
    """Where the list of answers is, where a request holds several rows."""
    label: str = ""
    """Where the predicted class is, by name or number."""
    scores: str = ""
    """Where the scores are: a list in the order of the classes, a mapping from class to number, or pairs of both."""
    confidence: str = ""
    """Where the score of the predicted class is, if that is all that is shown of the scores."""
    accept: str = ""
    """True or false, for an endpoint that accepts (class 1) or rejects (class 0), such as "decision == 'live'"."""
    classes: list[str] | dict[str, int] = Field(default=[])
    """The endpoint's names of the classes in order, or the index of each; by default those of the data."""
    refused_status: list[int] = Field(default=[])
    """Statuses that mean that this input was refused, such as 403."""
    refused_if: str = ""
    """An expression that is true of an answer that is a refusal."""
    refused_text: str = ""
    """A regular expression that is found in the body of a refusal."""


class RetryTable(Table):
    """How failures that may pass are met. A 429 or 503 is waited for as long as it asks (Retry-After, X-RateLimit-Reset)."""

    on: list[int] = Field(default=[408, 425, 429, 500, 502, 503, 504])
    """Statuses after which a request is sent again; no answer and one that cannot be read are always tried again."""
    attempts: Whole = 6
    """How often a request is sent at most."""
    first: Price = 0.5
    """The first wait is a random time up to so many seconds; each one after may be twice as long."""
    most: Price = 60.0
    """No wait is longer, in seconds."""
    patience: Positive = 600.0
    """Seconds that one request may take with all its waiting; an endpoint that asks to wait longer stops the campaign."""
    give_up: Whole = 5
    """Requests that may fail one after the other before the endpoint counts as down."""


class TimeoutTable(Table):
    """How long an attempt may take."""

    connect: Positive = 5.0
    """Seconds to connect."""
    read: Positive = 30.0
    """Seconds between two pieces of an answer."""
    total: Positive = 60.0
    """Seconds for a whole attempt, however slowly it trickles."""
    largest: Whole = 10_000_000
    """Bytes of an answer."""


class RateTable(Table):
    """How fast it may be asked."""

    concurrency: Whole = 4
    """Requests under way at once."""
    per_second: Positive | None = None
    """Requests begun in a second, evenly spread."""
    per_minute: Positive | None = None
    """Requests begun in a minute, evenly spread."""


class BudgetTable(Table):
    """What all questions of the campaign together may cost, resumed or not; it stops there, and goes on when it is raised."""

    rows: Whole | None = None
    """Rows sent, in all attempts."""
    requests: Whole | None = None
    """Attempts to send."""
    money: Price | None = None
    """In the unit of cost."""
    seconds: Positive | None = None
    """Seconds of asking, by the clock."""


class CostTable(Table):
    """What an attempt costs."""

    per_request: Price = 0.0
    """For each attempt."""
    per_row: Price = 0.0
    """For each row in it."""
    unit: str = ""
    """Such as "USD"."""


class ProbeTable(Table):
    """How its steadiness is looked at before anything else."""

    rows: Whole = 4
    """Clean rows."""
    repeats: Whole = 3
    """How often each is asked."""


class HttpTable(Table):
    """A remote model: `load` is its address, "https://host/path"."""

    authorisation: AuthorisationTable
    """Who allows it to be attacked, and the hosts that may be sent to."""
    answer: AnswerTable
    """How an answer is read."""
    request: RequestTable = RequestTable()
    """How rows are put into a request."""
    retry: RetryTable = RetryTable()
    """How failures that may pass are met."""
    timeout: TimeoutTable = TimeoutTable()
    """How long an attempt may take."""
    rate: RateTable = RateTable()
    """How fast it may be asked."""
    budget: BudgetTable = BudgetTable()
    """What all questions together may cost."""
    cost: CostTable = CostTable()
    """What an attempt costs."""
    probe: ProbeTable = ProbeTable()
    """How its steadiness is looked at."""
    journal: str | None = None
    """The file in which everything is written down before it is sent, relative to this file; by default beside it, `NAME.journal`."""
    randomised: bool = False
    """Whether it draws noise of its own: then each success is asked nine times more, and counts by majority."""


class GuardTable(Table):
    """A model behind Vauban's guard: `load` is the address of its listener for devices."""

    authorisation: AuthorisationTable
    """Who allows it to be attacked, and the hosts that may be sent to."""
    key: str = "${VAUBAN_GUARD_KEY}"
    """A relying party's API key, from the environment: "${NAME}". The backend is not the attacker's, but opens sessions for whoever asks."""
    devices: Whole = 1
    """How many devices the attacker has, each with a key of its own."""
    pace: Price = 40.0
    """Seconds that it lets pass between two attempts of one device, so that the lock against hurry does not hit it."""
    days: Price = 0.0
    """How long it waits for devices that are spent, in days; where it does not wait, what is left is unanswered."""
    direct: bool = False
    """Whether the guard tells devices the decision; otherwise it is read as users see it, from what the backend does next."""
    accepted: Literal[0, 1] = 0
    """The class that an accepted input is of."""
