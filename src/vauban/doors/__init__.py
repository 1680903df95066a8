"""The doors between attackers and targets: every question passes one, is counted there, and is judged there."""

from vauban.doors.oracle import KINDS, Aim, Attempt, Kind, Loss, Oracle, Outcome, Rows

__all__ = ["KINDS", "Aim", "Attempt", "Kind", "Loss", "Oracle", "Outcome", "Rows"]
