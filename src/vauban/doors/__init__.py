"""The doors between attackers and targets: every question passes one, is counted there, and is judged there."""

from vauban.doors.oracle import Aim, Attempt, Loss, Oracle, Outcome, Rows

__all__ = ["Aim", "Attempt", "Loss", "Oracle", "Outcome", "Rows"]
