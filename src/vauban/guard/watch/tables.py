"""The tables of the watch: what was seen, what it is like, and where the statistics stand. No image, no raw identity, nothing for ever."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from vauban.guard.storage import METADATA

_SERIAL = BigInteger().with_variant(Integer, "sqlite")

digests = Table(
    "watch_digests",
    METADATA,
    Column("digest", String(32), primary_key=True),  # keyed, of the exact pixels
    Column("at", Float, nullable=False, index=True),
    sqlite_with_rowid=False,
)
"""Every image there was; the first to write one has it, so that two that come at once are not both new."""

prints = Table(
    "watch_prints",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("attempt", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("device", String(32), nullable=False),
    Column("identity", String(32), nullable=False),  # the account, or the device where there is none
    Column("network", String(32), nullable=False),
    Column("sketch", LargeBinary, nullable=False),
    Column("thumb", LargeBinary, nullable=False),
    Column("accept", Boolean, nullable=False),
    Column("cluster", BigInteger),
    Index("watch_prints_cluster", "cluster", "identity"),
    Index("watch_prints_network", "network", "id"),
)
"""The fingerprints of each attempt."""

marks = Table(
    "watch_marks",
    METADATA,
    Column("mark", BigInteger, primary_key=True, autoincrement=False),
    Column("print", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""By what fingerprints are found: some hashes of the sketch (not negative), the bands of the thumbnail (negative)."""

clusters = Table(
    "watch_clusters",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("size", Integer, nullable=False),
    Column("identities", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("first", Float, nullable=False),
    Column("last", Float, nullable=False),
    Column("upto", BigInteger, nullable=False),  # the print up to which the evidence is
    Column("evidence", Text, nullable=False),  # JSON: one logarithm for each alternative
    Column("log_e", Float, nullable=False),
    Column("alarmed", Boolean, nullable=False),
    Index("watch_clusters_evidence", "log_e"),
)
"""Attempts that are linked by near-duplicates, and the evidence that this is no chance."""

inbox = Table(
    "watch_inbox",
    METADATA,
    Column("id", _SERIAL, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("told", Text, nullable=False),  # JSON: decision, scores, votes, what was noticed
)
"""What monitors have not yet counted; every row is counted once."""

monitors = Table(
    "watch_monitors",
    METADATA,
    Column("name", String(120), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("log_e", Float, nullable=False),
    Column("state", Text, nullable=False),  # JSON
)
"""Where each monitor stands."""

streams = Table(
    "watch_streams",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("queries", Integer, nullable=False),
    Column("normality", Float),
    Column("distances", Integer, nullable=False),
    Column("cells", Integer),
    Column("expected", Float),
    Column("outside", Integer),
    Column("log_e", Float, nullable=False),
    Column("state", Text, nullable=False),  # JSON: sums of the detector of what is outside
)
"""What the queries of a cluster or network look like together: extraction."""
