"""Rows of small ReLU networks that can be broken, as an exact solver shows, and that restarts of PGD and AutoAttack's attacks all miss."""
