"""Attacks that look for the smallest change that wins: they give every row a distance."""
