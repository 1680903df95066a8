"""Whether a group of inputs is clean: a statistical test on many inputs at once. It says nothing about any one of them, and so is no target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vauban.errors import BadData

LEAST = 5
"""Inputs in a group, at least."""
CHUNK = 256


@dataclass(frozen=True)
class GroupTest:
    """What came out.

    Attributes:
        p_value: in (0, 1]; for a clean group at most alpha with probability at most alpha, for every alpha.
        statistic: the squared maximum mean discrepancy between the group and the reference, unbiased, so around 0 for a clean group.
        bandwidth: of the Gaussian kernel.
        rows, reference: how many inputs were in each.
        permutations: drawn for the p-value, which is a multiple of 1 / (permutations + 1).
    """

    p_value: float
    statistic: float
    bandwidth: float
    rows: int
    reference: int
    permutations: int

    def strange(self, alpha: float = 0.05) -> bool:
        """Whether the group is refuted to be clean at this level."""
        return self.p_value <= alpha


def group_test(reference: Tensor, group: Tensor, *, permutations: int = 999, bandwidth: float = 0.0, seed: int = 0) -> GroupTest:
    """Test whether a group of inputs comes from where clean ones do: a two-sample test by maximum mean discrepancy, with permutations.

    A guard can hold it against the queries of one account: a clean group is refuted with probability at most alpha, while adversarial inputs,
    each of them hardly strange, are told apart by the dozen. An attacker that mixes in clean inputs, or attacks the statistic, passes.

    Args:
        reference: clean inputs, or any features of them, float (m, ...).
        group: as many inputs as were gathered, float (n, ...), of the same shape.
        permutations: random exchanges of the two; 999 give p-values down to 0.001.
        bandwidth: of the Gaussian kernel exp(-d^2 / (2 bandwidth^2)); 0 for the median distance between all inputs.
        seed: of the permutations.

    Raises:
        BadData: fewer than five inputs in either, other shapes, no variation, or values that are not finite.

    Source: Grosse et al. 2017, arXiv:1702.06280, section 4; Gretton et al. 2012, JMLR 13, lemma 6.

    >>> g = torch.Generator().manual_seed(0)
    >>> clean = torch.randn(60, 4, generator=g)
    >>> group_test(clean, torch.randn(30, 4, generator=g) + 1.0).strange(), group_test(clean, torch.randn(30, 4, generator=g)).strange()
    (True, False)
    """
    a, b = _rows(reference, "reference"), _rows(group, "group")
    if a.shape[1:] != b.shape[1:]:
        raise BadData(f"inputs of {a.shape[1]} features in the reference and of {b.shape[1]} in the group; give inputs of one kind")
    if permutations < 1:
        raise BadData(f"permutations = {permutations} must be 1 or more")
    squares = torch.cdist(both := torch.cat([a, b]), both, compute_mode="donot_use_mm_for_euclid_dist").square()
    width = bandwidth or _median(squares)
    kernel = torch.exp(-squares / (2 * width**2)).fill_diagonal_(0)
    own = torch.zeros(1, len(both), dtype=torch.float64)
    own[0, len(a) :] = 1
    observed = float(_discrepancies(kernel, own)[0])
    drawn = _exchanges(len(both), len(b), permutations, seed)
    # a relabelling that is the same but for rounding is as extreme as what was seen
    as_extreme = int((_discrepancies(kernel, drawn) >= observed - 1e-12).sum())
    return GroupTest((1 + as_extreme) / (1 + permutations), observed, width, len(b), len(a), permutations)


def _rows(x: Tensor, what: str) -> Tensor:
    if len(x) < LEAST:
        raise BadData(f"{len(x)} inputs in the {what}; a test of groups needs {LEAST} or more, and says little of fewer than 20")
    flat = x.detach().cpu().double().reshape(len(x), -1)
    if not bool(torch.isfinite(flat).all()):
        raise BadData(f"the {what} has values that are not finite")
    return flat


def _median(squares: Tensor) -> float:
    n = len(squares)
    middle = float(squares[torch.triu_indices(n, n, 1).unbind()].median().sqrt())
    if middle <= 0:
        raise BadData("more than half of the inputs are the same as another; give a bandwidth, or inputs that vary")
    return middle


def _exchanges(total: int, rows: int, count: int, seed: int) -> Tensor:
    """Random groups of so many of the total, as indicators float64 (count, total)."""
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, total, generator=g).argsort(1)[:, :rows]
    return torch.zeros(count, total, dtype=torch.float64).scatter(1, chosen, 1.0)


def _discrepancies(kernel: Tensor, groups: Tensor) -> Tensor:
    """The unbiased squared discrepancy, (k,), of each group, an indicator (k, n), from the rest; the kernel (n, n) has a zero diagonal."""
    found: list[Tensor] = []
    for part in groups.split(CHUNK):
        inside = part @ kernel
        n, m = part.sum(1), (1 - part).sum(1)
        within, across = (inside * part).sum(1), (inside * (1 - part)).sum(1)
        rest = kernel.sum() - within - 2 * across
        found.append(within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m))
    return torch.cat(found)
