"""Rotation: which ensemble decides, for how long, and what takes its place."""

from vauban.guard.rotation.fleet import Fleet
from vauban.guard.rotation.moves import Rotation
from vauban.guard.rotation.roster import Roster
from vauban.guard.rotation.tables import State
from vauban.guard.rotation.tick import Keeper, compare

__all__ = ["Fleet", "Keeper", "Roster", "Rotation", "State", "compare"]
