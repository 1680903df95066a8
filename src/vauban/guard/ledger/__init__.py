"""What the guard did, so that nobody can change it unseen: one chain of records per node, signed from time to time outside the database."""

from vauban.guard.ledger.chain import Ledger
from vauban.guard.ledger.verify import Checked, Fault, verify

__all__ = ["Checked", "Fault", "Ledger", "verify"]
