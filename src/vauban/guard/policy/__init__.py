"""Holds a guard, as it is configured and as it runs, against a named policy."""
