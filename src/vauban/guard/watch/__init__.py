"""The watch: what is noticed about attempts beside what the models say: likeness to others, unlikeness to usual ones, statistics over time."""

from vauban.guard.watch.calibration import Calibration, read_calibration, write_calibration
from vauban.guard.watch.values import Recall, Seen
from vauban.guard.watch.watch import Watch

__all__ = ["Calibration", "Recall", "Seen", "Watch", "read_calibration", "write_calibration"]
