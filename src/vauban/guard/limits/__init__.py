"""How many attempts there may be: exact logs over five scopes, the ladder of locks, the network an attempt came from, and a throttle for bursts."""

from vauban.guard.limits.burst import Throttle, require_calm, throttle
from vauban.guard.limits.ceilings import Fill, fills
from vauban.guard.limits.lockout import Lock, block, locked, release
from vauban.guard.limits.network import Networks, network_of

__all__ = ["Fill", "Lock", "Networks", "Throttle", "block", "fills", "locked", "network_of", "release", "require_calm", "throttle"]
