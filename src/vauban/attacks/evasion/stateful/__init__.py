"""Attacks on services that remember what they were asked, and refuse what resembles it."""
