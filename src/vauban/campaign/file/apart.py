"""Rows beside those of the audit: read like them, and apart from them."""

from __future__ import annotations

import hashlib

from torch import Tensor

from vauban.campaign.file.target import DataTable
from vauban.data import Rows
from vauban.errors import BadPlan

SHARED = 0.01
"""At most this share of the audit's rows may be among the others; data sets do hold a few pictures twice."""


def like(table: DataTable, audited: DataTable) -> DataTable:
    """The other rows are read with the classes, bounds and layout of the audit's, where nothing else is said."""
    unsaid = [k for k in ("classes", "bounds") if getattr(table, k) is None] + (["layout"] if table.layout == "auto" else [])
    return table.model_copy(update={k: getattr(audited, k) for k in unsaid})


def check_apart(rows: Rows, audited: Rows, what: str = "to train on") -> None:
    """Refuse rows that are those of the audit, or of other classes.

    Raises:
        BadPlan: they are.
    """
    if rows.classes != audited.classes:
        raise BadPlan(
            f"the classes are {', '.join(rows.classes[:5])}, and those of the audit {', '.join(audited.classes[:5])}; set classes on both"
        )
    if rows.shape != audited.shape:
        raise BadPlan(f"the inputs have shape {rows.shape}, and those of the audit {audited.shape}")
    known = set(map(_digest, rows.x))
    both = sum(_digest(x) in known for x in audited.x)
    if both > SHARED * len(audited):
        raise BadPlan(
            f"{both} of the audit's {len(audited)} rows are among the rows {what}; a model must be judged on rows it has never seen"
        )


def _digest(x: Tensor) -> bytes:
    return hashlib.blake2b(x.numpy().tobytes(), digest_size=16).digest()
