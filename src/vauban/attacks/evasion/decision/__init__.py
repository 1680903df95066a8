"""Attacks that ask for labels only."""
