"""What a run of the comparisons was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """`data`: the folder with reference.py; `n`: rows in place of each comparison's own number; `quick`: a tenth of the work.

    For comparisons of verdicts: which `models` and `sides` (their own choice, where empty), and how many `seeds`.
    """

    data: Path
    n: int | None = None
    quick: bool = False
    models: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    seeds: int = 3

    def rows(self, usual: int) -> int:
        """How many rows a comparison uses."""
        return self.n or (max(usual // 5, 10) if self.quick else usual)

    def repeats(self, usual: int) -> int:
        """How often sides take turns, after the counted run."""
        return min(usual, 1) if self.quick else usual
