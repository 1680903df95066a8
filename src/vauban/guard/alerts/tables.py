"""The tables of alerts: the alerts, what is to be told of them, and to whom it was told."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text

from vauban.guard.storage import METADATA

NUMBER = BigInteger().with_variant(Integer, "sqlite")
alerts = Table(
    "alerts",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("monitor", String(120), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("opened", Float, nullable=False),
    Column("seen", Float, nullable=False),  # when it was last raised
    Column("count", Integer, nullable=False),  # how often
    Column("evidence", Text, nullable=False),  # of the first time
    Column("latest", Text, nullable=False),  # of the last time
    Column("closed", Float),
    Column("closed_by", String(64)),
    Column("note", String(500)),
)
"""Every alert there ever was; one per monitor is open at a time."""
OPEN = alerts.c.closed.is_(None)
Index("alerts_open", alerts.c.monitor, unique=True, sqlite_where=OPEN, postgresql_where=OPEN)

outbox = Table(
    "outbox",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False, index=True),
    Column("alert", NUMBER, nullable=False),
    Column("event", String(20), nullable=False),
    Column("body", Text, nullable=False),
)
"""What happened to alerts, to be told."""

deliveries = Table(
    "deliveries",
    METADATA,
    Column("outbox", NUMBER, primary_key=True, autoincrement=False),
    Column("webhook", String(16), primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("next", Float),  # when it is tried again; none: never
    Column("done", Float),
    Column("error", String(200)),
    Index("deliveries_due", "next"),
)
"""One row per thing to tell and webhook; a webhook is known by a hash, for its URL may be a secret."""
