"""Attacks that ask for scores and take no gradient."""
