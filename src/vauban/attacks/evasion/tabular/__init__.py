"""Attacks on rows of tables: under constraints on features, and on trees, by their structure."""
