"""Proofs that take their place among attacks: what they prove robust, no attack after them need try."""
