"""A spam filter against typing errors, look-alikes and characters that nobody sees, with and without a normaliser in front of it.

    python examples/spam_texts.py

The filter is a scikit-learn pipeline over character n-grams, trained on sentences made from templates. One attacker makes typing errors, another
only changes that a reader does not see. Both see scores, make up to eight edits and ask up to 1,500 questions about each message; names must stay.
"""

from __future__ import annotations

import random

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import vauban
from vauban import Access, Edits, Threat

FRAMES = (
    "Hi {name}, {thing} is waiting for you {when}",
    "{name}, please look at {thing} {when}",
    "Dear {name}, we have put {thing} aside for you until {when}",
    "Hello {name}, {thing} comes to you {when}, just say yes",
    "{name}, do not forget {thing}, it is yours {when}",
)
THINGS = {
    1: ("a free trip", "a cash prize", "the lottery bonus", "a free phone", "the jackpot"),
    0: ("the report", "a garden plan", "the contract", "the timetable", "your notes"),
}
NAMES = ("Anna", "Bruno", "Clara", "David", "Emma", "Felix")
TIMES = ("today", "tomorrow", "Monday", "Friday noon", "next week")


def corpus(seed: int = 0, each: int = 120) -> tuple[list[str], list[int]]:
    """Messages and whether they are spam (1) or not (0)."""
    draw = random.Random(seed)
    labels = [1, 0] * each
    texts = [draw.choice(FRAMES).format(name=draw.choice(NAMES), thing=draw.choice(THINGS[k]), when=draw.choice(TIMES)) for k in labels]
    return texts, labels


def main() -> None:
    """Train the filter, audit it, and say what eight edits do to it."""
    torch.set_num_threads(1)
    texts, labels = corpus()
    filter_ = make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(2, 4)), LogisticRegression(max_iter=500)).fit(texts, labels)

    held_out, truth = corpus(seed=1, each=20)
    goal = vauban.Goal.directional(1, 0)
    threats = [
        Threat(name, Edits(8, families, protected=NAMES), Access.SCORE, goal, queries=1500)
        for name, families in (("typist", ["swap", "delete", "insert", "keyboard"]), ("ghost", ["homoglyph", "invisible", "reorder"]))
    ]
    record = vauban.audit_text(filter_, held_out, truth, threats, classes=["ham", "spam"], folder="spam-audit")

    for finding in record:
        print(f"{finding.name}: {finding.robust.text()} of {finding.robust.rows} spam messages still caught")
        worth = finding.validity
        if worth is not None:
            alike, behind = worth.alike, worth.normalised
            print(f"  median {worth.edits:g} edits; of {alike.rows} texts {alike.hits} look the same, {behind.hits} survive a normaliser")
    print("Report: spam-audit/report.html")


if __name__ == "__main__":
    main()
