"""Attacks that move an image rather than change its pixels."""
