"""Imperceptible perturbations: look-alikes, unseen characters, reorderings and deletions, placed by differential evolution."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vauban.attacks.registry import Count, Share
from vauban.attacks.text.operators import OPERATORS, choices, cost
from vauban.attacks.text.registry import text_attack
from vauban.doors.text import Play, TextRow
from vauban.threat import Access

UNSEEN = ("homoglyph", "invisible", "reorder", "backspace")
Population = Annotated[int, Field(ge=4)]
"""Genomes of a generation: a trial takes the best, two others and itself."""


@text_attack(Access.SCORE, families=UNSEEN, paper="Boucher et al. 2021, arXiv:2106.09898")
def bad_chars(row: TextRow, population: Population = 32, generations: Count = 10, crossover: Share = 0.7) -> Play:
    """Differential evolution over what a reader does not see: each gene is one edit, its place and which of those possible there.

    Storn and Price's best/1/bin with dithering, the factor drawn from [0.5, 1) for each generation. A genome has as many genes as edits are
    allowed, and the last ones that would exceed them are left out.

    Args:
        population, generations: texts in each generation, and how many generations follow the first.
        crossover: the chance that a gene comes from the mutant.
    """
    possible = choices(row, row.clean, UNSEEN)
    if not possible:
        return
    genes = min(row.most, len(possible))
    people = row.noise.uniform(population, genes, 2)[0]
    fitness = torch.tensor((yield from row.score([expressed(row, possible, p) for p in people], kind="initial")))
    for _ in range(generations):
        trial = offspring(row, people, fitness, crossover)
        values = torch.tensor((yield from row.score([expressed(row, possible, p) for p in trial])))
        better = values >= fitness
        people, fitness = torch.where(better[:, None, None], trial, people), torch.where(better, values, fitness)


def offspring(row: TextRow, people: Tensor, fitness: Tensor, crossover: float) -> Tensor:
    """One trial for each genome (population, genes, 2): the best plus a difference of two others, crossed with the genome itself."""
    n, genes, _ = people.shape
    others = row.noise.uniform(n, n)[0].fill_diagonal_(2).argsort(1)[:, :2]
    factor = 0.5 + 0.5 * row.noise.uniform(1)[0]
    best = people[int(fitness.argmax())]
    mutant = (best + factor * (people[others[:, 0]] - people[others[:, 1]])).remainder(1.0)
    taken = row.noise.uniform(n, genes * 2)[0] < crossover
    taken[torch.arange(n), row.noise.integers(genes * 2, n)[0]] = True  # at least one
    return torch.where(taken.view(n, genes, 2), mutant, people)


def expressed(row: TextRow, possible: list[tuple[str, int]], genome: Tensor) -> str:
    """The text that a genome stands for: its edits carried out from the end of the text to its beginning, one at each place."""
    chosen: dict[int, tuple[str, float]] = {}
    left = row.most
    for where, which in genome.tolist():
        family, place = possible[min(int(where * len(possible)), len(possible) - 1)]
        price = cost(row, family)
        beside = {place - 1, place, place + 1} if family == "reorder" else {place}
        clash = any(p in chosen or (p - 1 in chosen and chosen[p - 1][0] == "reorder") for p in beside)
        if price <= left and not clash:
            chosen[place] = (family, which)
            left -= price
    text = row.clean
    for place in sorted(chosen, reverse=True):
        family, which = chosen[place]
        made = list(OPERATORS[family](text, place))
        text = made[min(int(which * len(made)), len(made) - 1)] if made else text
    return text
