"""The fenced blocks of a documentation page, and how the tests run them.

Python blocks run, in one namespace a page, in a folder of the page's own; console blocks run in a shell, and what they show must be what
comes out, numbers and white space apart; a block with title="FILE" is written there. A comment before a block says otherwise:

    <!-- test: compile -->         Python that needs what a reader has: it is only compiled
    <!-- test: append FILE -->     the block is added to the end of FILE
    <!-- test: set FILE -->        each `key = value` of the block takes the place of the line of that key in FILE
    <!-- test: skip -->            nothing is done
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(
    r"(?:^<!-- test: (?P<order>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>\w+)(?P<rest>[^\n]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: "python", "console", "toml", ...
        text: without the fence and its indent.
        order: what the comment before it says, such as "compile".
        title: the file it is, if any.
        line: of its fence in the page, from 1.
    """

    language: str
    text: str
    order: str
    title: str
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(content):
        indent = len(found["indent"])
        text = "".join(line[indent:] for line in found["body"].splitlines(keepends=True))
        title = re.search(r'title="([^"]+)"', found["rest"])
        line = content.count("\n", 0, found.start("language")) + 1
        yield Block(found["language"], text, found["order"] or "", title[1] if title else "", line)


class Reader:
    """Does what a page says, in a folder."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page, self.folder, self.code = page, folder, 0
        self.names: dict[str, Any] = {"__name__": f"docs_{page.stem}"}

    def read(self) -> None:
        for block in blocks_of(self.page):
            self.block(block)

    def block(self, block: Block) -> None:
        """One block: put away, compiled, or run."""
        order, _, name = block.order.partition(" ")
        where = f"{self.page.name}:{block.line}"
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(self.page), "exec", dont_inherit=True)
        if order == "skip":
            return
        if block.title:
            (self.folder / block.title).write_text(block.text, encoding="utf-8")
        elif order == "append":
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write("\n" + block.text)
        elif order == "set":
            self.set_lines(self.folder / name, block.text)
        elif block.language == "python" and order != "compile":
            exec(code, self.names)
        elif block.language == "console":
            self.console(block.text, where)

    @staticmethod
    def set_lines(file: Path, text: str) -> None:
        content = file.read_text(encoding="utf-8")
        for line in text.splitlines():
            key = line.partition(" =")[0]
            content, count = re.subn(rf"(?m)^{re.escape(key)} = .*$", lambda _, line=line: line, content)
            assert count == 1, f"{file.name} has {count} lines of {key}"
        file.write_text(content, encoding="utf-8")

    def console(self, text: str, where: str) -> None:
        """Commands, each with what it shows; `echo $?` is the exit code of the one before."""
        for part in re.split(r"(?m)^\$ ", text)[1:]:
            command, _, shown = part.partition("\n")
            if command == "echo $?":
                assert shown.strip() == str(self.code), f"{where}: the page says exit code {shown.strip()}, and it is {self.code}"
                continue
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
            surroundings = {**os.environ, "PATH": path, "COLUMNS": "100", "TERM": "dumb"}
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=surroundings, capture_output=True, text=True, timeout=300, check=False
            )
            self.code = done.returncode
            assert self.code in (0, 1, 3), f"{where}: {command}: exit code {self.code}\n{done.stdout}\n{done.stderr}"
            missing = first_missing(shown, done.stdout)
            assert missing is None, f"{where}: {command}: no line like {missing!r} in\n{done.stdout}\n{done.stderr}"


def first_missing(shown: str, actual: str) -> str | None:
    """The first line a page shows that did not come, in order; "..." stands for any lines. None where all came."""
    came = iter([alike(line) for line in actual.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in ("", "...") and alike(line) not in came:
            return line
    return None


def alike(line: str) -> str:
    """A line without what differs between machines: numbers, white space, and the glyphs of a terminal's tables."""
    line = re.sub(r"\d+(-\d+)+", "#", line)
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", re.sub(r"[─━]+", "-", line)).split())
