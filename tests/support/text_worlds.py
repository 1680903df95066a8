"""A small world of texts whose answer is known by construction: a model that looks for two words, letter by letter, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vauban.attacks import Attack
from vauban.attacks.text import TEXT_ATTACKS, run
from vauban.doors.text import TextOracle, TextTorch
from vauban.threat import Edits, Threat

torch.set_num_threads(1)
SIGNS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTH = 48
KEYWORDS = ("lottery", "winner")


def encode(texts: list[str]) -> Tensor:
    """Characters to ids: 0 is the padding, and 1 whatever is no ASCII letter."""
    ids = [[SIGNS.find(c) + 2 if c in SIGNS else 1 for c in t[:LENGTH]] for t in texts]
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in ids])


class Spotter(nn.Module):
    """Class 1 where at least one keyword stands in the text, class 0 otherwise, and a third that is never answered."""

    def __init__(self, keywords: tuple[str, ...] = KEYWORDS) -> None:
        super().__init__()
        width = len(SIGNS) + 2
        self.embedding = nn.Embedding.from_pretrained(torch.eye(width))
        self.filters = nn.ModuleList(nn.Conv1d(width, 1, len(k)) for k in keywords)
        for layer, word in zip(self.filters, keywords, strict=True):
            layer.weight.data.zero_()
            for i, c in enumerate(word):
                layer.weight.data[0, SIGNS.find(c) + 2, i] = 1.0
            layer.bias.data.fill_(1.0 - len(word))

    def forward(self, ids: Tensor) -> Tensor:
        z = self.embedding(ids).transpose(1, 2)
        found = torch.cat([layer(z).relu().amax(2) for layer in self.filters], 1).sum(1)
        return torch.stack([torch.full_like(found, 0.5), found, torch.full_like(found, -5)], 1)


TEXTS = (
    "claim the lottery money before noon",
    "dear winner call this number",
    "winner of the grand lottery prize",
    "the lottery office wrote again today",
)
"""One keyword, one, two, one: the least number of edits that hides them is `LEAST`."""
LEAST = (1, 1, 2, 1)


@dataclass(frozen=True)
class TextWorld:
    target: TextTorch
    texts: tuple[str, ...] = TEXTS
    labels: tuple[int, ...] = (1,) * len(TEXTS)


def text_world() -> TextWorld:
    return TextWorld(TextTorch(Spotter(), encode, outputs="logits"))


def threat(attack: Attack, most: int = 3, families: tuple[str, ...] = (), protected: tuple[str, ...] = (), **fields: object) -> Threat:
    edits = Edits(most, families, protected=protected) if families else Edits(most, protected=protected)
    return Threat("t", edits, **{"access": attack.facts.access, **fields})  # type: ignore[arg-type]


def besiege(w: TextWorld, attack: Attack, t: Threat, **options: object) -> TextOracle:
    o = TextOracle(w.target, w.texts, w.labels, t, **options)  # type: ignore[arg-type]
    run(attack, o)
    return o


NAMES = sorted(TEXT_ATTACKS)
OPTIMISERS = [n for n in NAMES if not TEXT_ATTACKS[n].facts.baseline]
