"""The tables of rotation: every ensemble there was, every move of one, and what is counted while one takes over from another."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, String, Table, Text, text

from vauban.guard.storage import METADATA


class State(StrEnum):
    """Where an ensemble is on its way; only one is live, and only one is on its way to be."""

    REGISTERED = "registered"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"


NUMBER = BigInteger().with_variant(Integer, "sqlite")

ensembles = Table(
    "ensembles",
    METADATA,
    Column("id", String(64), primary_key=True),  # SHA-256 of what was signed
    Column("name", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("percent", Float, nullable=False),  # of devices, while it is a canary
    Column("families", Text, nullable=False),  # JSON list
    Column("registered_at", Float, nullable=False),
    Column("live_at", Float),  # for the first time
    Column("retired_at", Float),
    Column("queries", BigInteger, nullable=False),  # attempts it was there to decide, as far as they are counted
)
"""Every ensemble that was registered. None is ever deleted: records of decisions name them."""
_LIVE = text("state = 'live'")
Index("ensembles_one_live", ensembles.c.state, unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)

moves = Table(
    "ensemble_moves",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("ensemble", String(64), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("percent", Float, nullable=False),
    Column("by", String(64), nullable=False),
    Column("why", Text, nullable=False),
)
"""Who moved which ensemble, when and why."""

gates = Table(
    "ensemble_gates",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("ensemble", String(64), nullable=False),
    Column("retiring", String(64), nullable=False),
    Column("holds", Boolean, nullable=False),
    Column("findings", Text, nullable=False),  # JSON
)
"""What the gate found of a successor of one ensemble."""

shadowed = Table(
    "ensemble_shadows",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("ensemble", String(64), nullable=False),
    Column("live", Boolean, nullable=False),  # what was decided
    Column("accept", Boolean),  # what it would have said; none where it could not answer
)
"""Answers of an ensemble in shadow; they are added up from time to time, and go."""

tallies = Table(
    "ensemble_tallies",
    METADATA,
    Column("successor", String(64), primary_key=True),
    Column("ensemble", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # "shadow" | "canary"
    Column("rows", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),  # no decision, or no answer
    Column("apart", BigInteger, nullable=False),  # in shadow: it says otherwise than what was decided
)
"""What is counted while a successor is on its way: of it, and of the live ensemble beside it."""

counted = Table(
    "ensemble_counted",
    METADATA,
    Column("name", String(16), primary_key=True),
    Column("upto", BigInteger, nullable=False),
)
"""Up to which attempt they are counted; its row is the lock of everything that counts or moves."""
