"""What may stand in `guard.toml`. The defaults are the banking recommendation: what is not written is not weaker for it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any) -> Any:
    """A duration such as "24h", "15m", "90d" or a number of seconds.

    >>> seconds("24h"), seconds(30)
    (86400.0, 30)
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)
    if found is None:
        raise ValueError('must be a duration, such as "30s", "15m", "24h" or "90d"')
    return float(found[1]) * UNITS[found[2]]


def _network(value: str) -> str:
    ip_network(value)
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Mode = Literal["off", "monitor", "enforce"]


class Section(BaseModel):
    """A table that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(Section):
    """`[listen]`: where devices and backends reach the guard.

    Attributes:
        host, port: of that listener.
        workers: processes that serve it; more than one want PostgreSQL.
        trusted_proxies: networks whose `X-Forwarded-For` is believed, from the right; none by default.
        slot: seconds; answers of `/v1/attempts` leave at multiples of it.
        body: bytes that an attempt may have.
        pixels: that an image may have.
        body_timeout: that the headers, or the body, of a request may take.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    slot: Duration = 0.25
    body: Annotated[int, Field(ge=1024, le=32 * 2**20)] = 2 * 2**20
    pixels: Annotated[int, Field(ge=64, le=64_000_000)] = 4_000_000
    body_timeout: Duration = 10.0


class Console(Section):
    """`[console]`: where operators, `/metrics`, `/healthz` and `/readyz` are; never on the listener of devices.

    Attributes:
        host, port: of that listener; keep it where only operators reach it.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081


class RelyingParty(Section):
    """`[[relying_party]]`: a backend that may open sessions; `vauban guard key` prints a key and its hash.

    Attributes:
        name: what results, receipts and the ledger call it.
        key_sha256: of its key, or of two while it changes from one to the other.
    """

    name: Name
    key_sha256: Sha256 | Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=2)]

    @property
    def hashes(self) -> tuple[str, ...]:
        """Of all its keys."""
        return (self.key_sha256,) if isinstance(self.key_sha256, str) else self.key_sha256


class Operator(Section):
    """`[[operator]]`: who may look at the console, and who may act there.

    Attributes:
        name: what the ledger calls them.
        key_sha256: of the key they log in with; `vauban guard key` prints both.
        role: "viewer" looks, "operator" acts on devices and alerts, "approver" moves ensembles too.
    """

    name: Name
    key_sha256: Sha256
    role: Literal["viewer", "operator", "approver"] = "viewer"


class Session(Section):
    """`[session]`: attempts, how long, and what the device is told.

    Attributes:
        attempts: in one session: 3 to 5 is the banking recommendation.
        ttl: how long a token is good for.
        mode: "two-phase": the device is told that its attempt was received, the backend fetches the decision. "direct": the device is told it.
        device: "signed": every attempt is signed with the key that the session was opened for. "named": the backend vouches for an id.
        skew: by how much the time that a device states may differ from the guard's.
    """

    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    ttl: Duration = 600.0
    mode: Literal["two-phase", "direct"] = "two-phase"
    device: Literal["signed", "named"] = "signed"
    skew: Duration = 30.0


class Ceiling(Section):
    """`{ count = 10, window = "24h" }`: at most so many attempts in any window of that length, wherever it begins."""

    count: Annotated[int, Field(ge=1)]
    window: Duration


class Limits(Section):
    """`[limits]`: how many attempts, over sessions, in any window: exactly up to 1,000, and above by at most 1% fewer.

    Attributes:
        device, account, network: of one of these.
        party: of one relying party.
        everyone: of all together.
    """

    device: Ceiling = Ceiling(count=10, window=86400)
    account: Ceiling = Ceiling(count=20, window=86400)
    network: Ceiling = Ceiling(count=60, window=3600)
    party: Ceiling = Ceiling(count=1_000_000, window=86400)
    everyone: Ceiling = Ceiling(count=2_000_000, window=86400)


class Lockout(Section):
    """`[lockout]`: so many rejections within a time lock a device; so many locks within a time block it until an operator looks.

    Attempts under way count as rejected until they are accepted, so that nobody gets more by asking many at once; they lock nobody.

    Attributes:
        fails, within: so many rejections in such a time lock a device.
        lock: for how long.
        locks, locks_within: so many locks in such a time block it until an operator releases it.
    """

    fails: Annotated[int, Field(ge=1)] = 5
    within: Duration = 180.0
    lock: Duration = 1800.0
    locks: Annotated[int, Field(ge=1)] = 3
    locks_within: Duration = 7 * 86400.0


class Burst(Section):
    """`[burst]`: a throttle before everything else, for all workers with Redis and for each one without; never the source of a daily limit.

    Attributes:
        redis: its URL, "redis://host:6379/0"; without it each process throttles alone.
        count, window: so many requests of one network in any such time.
    """

    redis: str | None = None
    count: Annotated[int, Field(ge=1)] = 20
    window: Duration = 1.0


class Models(Section):
    """`[models]`: the ensemble that answers, and when another takes its place.

    Attributes:
        folder: where ensembles lie, each in a folder of its own: signed manifests and ONNX files.
        vote: whether all must say "accept", or most.
        timeout: seconds for one model; one that is late has no vote.
        least: how many models must have answered at all; with fewer the guard is unavailable. By default all of them: with fewer, one that is
            broken would make it easier to be accepted.
        approvals: how many publishers must have signed an ensemble.
        days, queries: how old an ensemble may become, and how many questions it may have answered, whichever is first.
        attack_cost: questions that our own best attack needed; with `attack_devices` it shortens `days` (see `vauban.guard.rotation.budget`).
        attack_devices: how many devices an attacker is thought to have.
        overdue: what happens to an ensemble that is older: an alert, or no more sessions.
        recent: a successor has no architecture family of so many ensembles before it.
        rejected: the most that the upper bound of a successor's rejected share of live rows may be.
        worse: by how much the upper bounds of a successor's errors may exceed the retiring ensemble's.
        transfer: the most that the upper bound of the share of the retiring ensemble's adversarial examples that a successor accepts may be.
        shadow: answers beside the live ensemble that a successor needs before it decides anything.
        canary: decisions that it needs before it decides everything.
        apart: by how much its accept rate may differ from the live ensemble's before it is rolled back by itself.
    """

    folder: Path = Path("models")
    vote: Literal["unanimous", "majority"] = "unanimous"
    timeout: Duration = 2.0
    least: Annotated[int, Field(ge=1, le=9)] | None = None
    approvals: Annotated[int, Field(ge=1, le=9)] = 1
    days: Annotated[float, Field(gt=0)] = 90.0
    queries: Annotated[int, Field(ge=1)] | None = None
    attack_cost: Annotated[int, Field(ge=1)] | None = None
    attack_devices: Annotated[int, Field(ge=1)] = 10
    overdue: Literal["alert", "refuse"] = "alert"
    recent: Annotated[int, Field(ge=0)] = 2
    rejected: Annotated[float, Field(gt=0, lt=1)] = 0.1
    worse: Annotated[float, Field(ge=0, lt=1)] = 0.02
    transfer: Annotated[float, Field(gt=0, le=1)] = 0.1
    shadow: Annotated[int, Field(ge=0)] = 1000
    canary: Annotated[int, Field(ge=0)] = 500
    apart: Annotated[float, Field(ge=0, lt=1)] = 0.05


class Watch(Section):
    """`[watch]`: what is noticed, and whether it is acted on; "enforce" needs a calibration on the owner's own rows.

    Attributes:
        replay: the very same pixels again; these are no chance, so this needs no calibration.
        similarity: near-duplicates across devices, by fingerprints.
        anomaly: inputs unlike those the models were made for.
        monitors: statistics of scores over time: they alarm, and never decide.
        keep: how long fingerprints are kept.
        calibration: what `vauban guard calibrate` wrote.
    """

    replay: Mode = "enforce"
    similarity: Mode = "monitor"
    anomaly: Mode = "monitor"
    monitors: Literal["off", "monitor"] = "monitor"
    keep: Duration = 7 * 86400.0
    calibration: Path | None = None


class Ledger(Section):
    """`[ledger]`: how often the chain is signed, and where the signed heads are laid outside the database.

    Attributes:
        checkpoint: time between two.
        anchor: the file; on a disk that an intruder in the database cannot write.
    """

    checkpoint: Duration = 60.0
    anchor: Path = Path("ledger-anchors.jsonl")


class Webhook(Section):
    """`[[webhook]]`: where alerts are sent, signed with a secret from the environment.

    Attributes:
        url: where.
        secret_env: the name of the environment variable that holds the secret.
        allow: private networks that it may lie in; by default only public addresses are sent to.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    allow: tuple[Annotated[str, AfterValidator(_network)], ...] = ()


class GuardFile(Section):
    """The whole of `guard.toml`.

    Attributes:
        name: of the guard, in receipts, tokens and webhooks.
        database: "sqlite:///guard.db" on one machine, "postgresql+psycopg://user@host/name" on several.
        keys: the folder of its secrets, which `vauban guard init` makes.
    """

    name: Name = "guard"
    database: str = "sqlite:///guard.db"
    keys: Path = Path("keys")
    listen: Listen = Listen()
    console: Console = Console()
    relying_party: tuple[RelyingParty, ...] = ()
    operator: tuple[Operator, ...] = ()
    session: Session = Session()
    limits: Limits = Limits()
    lockout: Lockout = Lockout()
    burst: Burst = Burst()
    models: Models = Models()
    watch: Watch = Watch()
    ledger: Ledger = Ledger()
    webhook: tuple[Webhook, ...] = ()
    _base: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _distinct(self) -> GuardFile:
        for kind, names in (("relying_party", [p.name for p in self.relying_party]), ("operator", [o.name for o in self.operator])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"two [[{kind}]] are named {twice[0]!r}; give each a name of its own")
        if self.listen.port and (self.listen.host, self.listen.port) == (self.console.host, self.console.port):
            raise ValueError(f"[listen] and [console] are both at {self.listen.host}:{self.listen.port}; give each a port of its own")
        return self

    def read_from(self, base: Path) -> GuardFile:
        """The same, knowing the folder that its paths are relative to."""
        self._base = base
        return self

    def beside(self, path: Path) -> Path:
        """A path of the file, from where it lies."""
        return path if path.is_absolute() else self._base / path

    @property
    def database_url(self) -> str:
        """The database's URL, with a relative SQLite file beside the configuration."""
        found = re.fullmatch(r"sqlite:///(?!/)(?!:memory:)(.+)", self.database)
        return f"sqlite:///{self.beside(Path(found[1])).resolve()}" if found else self.database
