"""The evasion door: target x threat x rows x surrogate.

An attack asks the `Oracle` and nobody else. The oracle enforces access and budget for each row, counts, judges every answer it sees against
the threat, keeps the best verified example of each row, and stops forwarding rows that are settled. Its parts: `Stage` is the loops and the
span of an attack, `Aim` the goal in tensors, `Book` the accounts of all rows, `View` the rows that are still worth a question, `Rows` the
attack's state that is narrowed with them.
"""

from vauban.doors.oracle.aim import Aim, Loss
from vauban.doors.oracle.book import KINDS, Attempt, Kind, Outcome
from vauban.doors.oracle.oracle import Oracle
from vauban.doors.oracle.view import Rows

__all__ = ["KINDS", "Aim", "Attempt", "Kind", "Loss", "Oracle", "Outcome", "Rows"]
