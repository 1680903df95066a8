"""Detectors: how strange an input looks, and a threshold that a stated share of clean inputs exceeds; above it, there is no answer."""
