"""What all generated pages are made of: tables, links, and docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def source(paper: str) -> str:
    """A source with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def kind(hint: Any) -> str:
    """What a setting may be, from its annotation."""
    if get_origin(hint) is Literal:
        return " or ".join(f'`"{v}"`' for v in get_args(hint))
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    limits = [limit for note in notes for limit in getattr(note, "metadata", ())]
    said = {"ge": "{:g} or more", "gt": "above {:g}", "le": "at most {:g}", "lt": "below {:g}"}
    texts = [text.format(value) for name, text in said.items() for limit in limits if (value := getattr(limit, name, None)) is not None]
    return ", ".join([words.get(base, "a value"), *texts])


def first_line(value: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def entries_of(value: object, section: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each entry in a section of a docstring; the name is empty where it has none."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n(?=    ))+)", (inspect.getdoc(value) or "") + "\n", re.MULTILINE)
    if found is None:
        return
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(found[1]).strip()):
        text = " ".join(entry.split())
        name, colon, rest = text.partition(": ")
        named = bool(colon) and re.fullmatch(r"[\w, ]+", name) is not None
        yield (name, rest) if named else ("", text)


def plain(text: str) -> str:
    """Docstring text in Markdown: what would be read as markup is not."""
    return re.sub(r"(?<!`)\*(?!`)", r"\\*", text)
