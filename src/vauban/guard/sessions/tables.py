"""The table of sessions: a relying party's leave for one device to try a few times."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, String, Table, Text

from vauban.guard.storage import METADATA

sessions = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),  # SHA-256 of the id that its backend knows
    Column("party", String(64), nullable=False),
    Column("device", String(32), nullable=False),
    Column("device_key", Text, nullable=False),  # "" where the backend vouches for the device
    Column("account", String(32), nullable=False),
    Column("purpose", String(200), nullable=False),
    Column("ensemble", String(64), nullable=False),
    Column("opened", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    Column("ended", Float),
    Column("outcome", Text),  # what the backend was told, once nothing can change it
)
"""Every session. Neither its id nor anything that names a device or an account is in it."""
