"""What an operator must see: an alarm is written once while it is open, and told to webhooks from an outbox of the same transaction."""

from vauban.guard.alerts.board import Alert, Severity, acknowledge, alert

__all__ = ["Alert", "Severity", "acknowledge", "alert"]
