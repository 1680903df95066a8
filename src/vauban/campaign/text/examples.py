"""A few broken texts for the page, with their edits marked, and all of them for a file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vauban.campaign.run.besiege import labels_of
from vauban.campaign.run.gallery import chosen
from vauban.campaign.text.siege import Fought
from vauban.report.numbers import number
from vauban.report.texts import TextExample, marks


def gallery(fought: Fought, names: Sequence[str]) -> tuple[TextExample, ...]:
    """Of the rows that an attack broke, the first of each class by row id, then the second of each, and so on."""
    done, labels = fought.done, labels_of(fought.siege.attacks)
    return tuple(
        TextExample(
            int(done.row[row]),
            names[int(done.label[row])],
            labels[int(done.by[row])],
            number(float(done.size[row])),
            names[int(done.answer[row])],
            names[int(done.after[row])],
            marks([(s.clean, s.text) for s in fought.oracle.rulers[row].steps(fought.adversarial[row])]),
        )
        for row in chosen(done)
    )


def lines(fought: Fought) -> str:
    """Every broken text as a line of JSON: row, threat, attack, edits, clean and adversarial text, true class and answer."""
    done, labels = fought.done, labels_of(fought.siege.attacks)
    found = [
        {
            "row": int(done.row[row]),
            "threat": fought.siege.threat.name,
            "attack": labels[int(done.by[row])],
            "edits": float(done.size[row]),
            "clean": fought.oracle.texts[row],
            "adversarial": fought.adversarial[row],
            "label": int(done.label[row]),
            "answer": int(done.after[row]),
        }
        for row in fought.won
    ]
    return "".join(json.dumps(line) + "\n" for line in found)
