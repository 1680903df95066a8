"""Where the guard's state lives: one SQL database, asked in short transactions that either happen whole or not at all."""

from vauban.guard.storage.prepared import Prepared
from vauban.guard.storage.store import METADATA, Store, Transaction

__all__ = ["METADATA", "Prepared", "Store", "Transaction"]
