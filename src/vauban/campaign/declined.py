"""What a target that may reject declined to answer: of clean inputs, which is its cost, and of attacked ones, which is its worth."""

from __future__ import annotations

from dataclasses import dataclass

from vauban.measure.rate import Rate


@dataclass(frozen=True, slots=True)
class Declined:
    """Rejections under a threat in which they are no success.

    Attributes:
        clean: clean inputs that were rejected, of all rows. They count as broken where any wrong answer is one; the others are its coverage.
        saved: of the rows that withstood every attack, those on which at some point nothing but a rejection kept an answer from being a
            success. The rest would have stood without.
    """

    clean: Rate
    saved: Rate

    def sentence(self) -> str:
        """Both, in words."""
        kept = f"{self.saved.hits:,} of the {self.saved.rows:,} rows that stood were saved by a rejection"
        return f"Declined to answer {self.clean.text()} of the clean inputs; {kept if self.saved.rows else 'no row stood'}."
