"""Signs that a number flatters the target, each looked for after the attacks under a threat are done."""

from vauban.campaign.doubts.scene import Doubter, Scene

DOUBTERS: tuple[Doubter, ...] = ()
"""Every doubter, asked in order about every threat."""

__all__ = ["DOUBTERS", "Doubter", "Scene"]
