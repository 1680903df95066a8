"""The tables of attempts: every one that was admitted, the log of every scope, and the locks of devices."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from vauban.guard.storage import METADATA

attempts = Table(
    "attempts",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("session", String(64), nullable=False),  # SHA-256 of the session's id
    Column("seq", Integer, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("party", String(64), nullable=False),
    Column("device", String(32), nullable=False),
    Column("account", String(32), nullable=False),
    Column("network", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("node", String(64), nullable=False),
    Column("ensemble", String(64), nullable=False),
    Column("state", String(8), nullable=False),  # "reserved" | "decided" | "failed"
    Column("accept", Boolean),
    Column("decided_at", Float),
    Column("scores", Text),
    Column("votes", Text),
    Column("flags", Text),
    Column("seconds", Float),
    Column("mac", LargeBinary(32)),  # of a decision: see sessions/seals.py
    Index("attempts_nonce", "session", "nonce", unique=True),
    Index("attempts_device", "device", "at"),
    Index("attempts_decided", "decided_at"),
)
"""Every attempt that was admitted; a place that was reserved is never given back, whatever becomes of it."""

limits = Table(
    "limits",
    METADATA,
    Column("key", String(100), primary_key=True),
    Column("log", LargeBinary, nullable=False),
    Column("until", Float, nullable=False, index=True),  # when the last of it has left its window
)
"""The log of every scope that was asked in."""

locks = Table(
    "locks",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("device", String(32), nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float),  # none: blocked until an operator releases it
    Column("cleared", Float, nullable=False),  # rejections up to here have been paid for
    Column("reason", String(200), nullable=False),
    Column("by", String(64), nullable=False),
    Column("released", Float),
    Column("released_by", String(64)),
    Index("locks_device", "device", "since"),
)
"""Every lock and block of a device there ever was."""
