"""Who may try, and how often: sessions that backends open, tokens and signatures of devices, and the one transaction that admits an attempt."""

from vauban.guard.sessions.admission import Admission, Admitted, Claim
from vauban.guard.sessions.expiry import forget
from vauban.guard.sessions.sessions import Opened, Opening, Result, Sessions

__all__ = ["Admission", "Admitted", "Claim", "Opened", "Opening", "Result", "Sessions", "forget"]
