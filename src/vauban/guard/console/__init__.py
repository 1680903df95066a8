"""The operators' pages, on a listener of their own: what the guard does now, what it noticed, and the few acts that people decide."""

from vauban.guard.console.app import console_app
from vauban.guard.console.context import Context

__all__ = ["Context", "console_app"]
