"""Attacks that climb a gradient inside a ball of fixed radius."""
