"""Attacks whose examples are made to fool other models than the one whose gradients they follow."""
