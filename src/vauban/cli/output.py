"""What a verb prints, and how: for people, plain, as JSON, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Output:
    """The global options.

    Attributes:
        plain: no colour, no box glyphs.
        json: JSON on standard output and nothing else.
        quiet: nothing on standard output.
    """

    plain: bool = False
    json: bool = False
    quiet: bool = False

    @classmethod
    def of(cls, ctx: typer.Context) -> Output:
        """The output that the global options ask for."""
        return cast("Output", ctx.obj) if isinstance(ctx.obj, cls) else cls()

    @property
    def talks(self) -> bool:
        """Whether people read standard output."""
        return not (self.quiet or self.json)

    @property
    def console(self) -> Console:
        """Standard output for Rich; nothing in a text is read as markup."""
        from rich.console import Console

        class Open(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # Rich would leave with code 1, which is a verdict here

        if self.plain:
            return Open(color_system=None, force_terminal=False, markup=False, highlight=False, emoji=False)
        return Open(markup=False, highlight=False, emoji=False)

    def say(self, text: str = "") -> None:
        """Lines for people, whole however long they are, and without control characters."""
        if self.talks:
            print(_tidy(text))

    def note(self, text: str) -> None:
        """A line beside the result, on standard error."""
        if not self.quiet:
            print(_tidy(f"vauban: {text}"), file=sys.stderr)

    def progress(self, text: str) -> None:
        """A line on standard error that the next one overwrites, at a terminal; nothing elsewhere."""
        if not self.quiet and not self.plain and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def write(self, value: object) -> None:
        """A value as JSON, where that is wanted."""
        if self.json and not self.quiet:
            import msgspec

            sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table for people; columns whose head begins with ">" are set to the right."""
        if not self.talks:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        dashes = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
        table = Table(box=dashes if self.plain else box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for head in columns:
            right = head.startswith(">")
            table.add_column(head.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
        for row in rows:
            table.add_row(*(Text(_tidy(cell)) for cell in row))
        self.console.print(table)


def _tidy(text: str) -> str:
    from vauban.report.numbers import tidy

    return "\n".join(map(tidy, text.split("\n")))
