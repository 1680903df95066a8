"""Rows to attack: read from where people keep them, checked once, and known by where they came from."""

from vauban.data.load import load_data
from vauban.data.provenance import fingerprint
from vauban.data.rows import Rows

__all__ = ["Rows", "fingerprint", "load_data"]
