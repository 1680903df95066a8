"""Evasion: attacks that change an input so that the target answers as the attacker wants."""
