"""Attacks on texts: generators over one row, in a registry of their own, `TEXT_ATTACKS`."""

from vauban.attacks.text.registry import TEXT_ATTACKS, TextRecipe, find_text, run, text_attack

__all__ = ["TEXT_ATTACKS", "TextRecipe", "find_text", "run", "text_attack"]
