"""The few shapes that charts are drawn with: SVG as text, coloured by the style sheet, everything escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_ATTRIBUTE, _FULL, _EMPTY = Markup(' {}="{}"'), Markup("<{0}{1}>{2}</{0}>"), Markup("<{}{}/>")


def tag(name: str, *inner: str, **attributes: object) -> Markup:
    """An element; text inside is escaped, `class_` is `class`, `_` in names is `-`.

    >>> tag("rect", x=1.25, class_="bar")
    Markup('<rect x="1.25" class="bar"/>')
    """
    told = Markup("").join(_ATTRIBUTE.format(key.rstrip("_").replace("_", "-"), _number(value)) for key, value in attributes.items())
    return _FULL.format(name, told, Markup("").join(inner)) if inner else _EMPTY.format(name, told)


def titled(shape: Markup, text: str) -> Markup:
    """A shape that says more when it is pointed at."""
    return tag("g", tag("title", text), shape)


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


@dataclass(frozen=True)
class Frame:
    """Where values lie on the drawing.

    Attributes:
        width, height: of the whole, in units of the drawing.
        x, y: lowest and highest value of each axis.
        left, right, top, bottom: room around.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 40.0
    right: float = 8.0
    top: float = 8.0
    bottom: float = 20.0

    def across(self, value: float) -> float:
        """Where a value of the x axis lies."""
        low, high = self.x
        return self.left + (value - low) / ((high - low) or 1.0) * (self.width - self.left - self.right)

    def down(self, value: float) -> float:
        """Where a value of the y axis lies."""
        low, high = self.y
        return self.height - self.bottom - (value - low) / ((high - low) or 1.0) * (self.height - self.top - self.bottom)

    def grid(self, values: Sequence[float], labels: Sequence[str]) -> Markup:
        """Lines across at values of the y axis, each with its label."""
        shapes: list[Markup] = []
        for value, label in zip(values, labels, strict=True):
            y = self.down(value)
            shapes += [
                tag("line", x1=self.left, x2=self.width - self.right, y1=y, y2=y, class_="grid"),
                tag("text", label, x=self.left - 6, y=y + 3.5, class_="tick", text_anchor="end"),
            ]
        return Markup("").join(shapes)

    def below(self, values: Sequence[float], labels: Sequence[str]) -> Markup:
        """Labels under the x axis; those at the ends stay inside."""
        shapes: list[Markup] = []
        for value, label in zip(values, labels, strict=True):
            x = self.across(value)
            anchor = "start" if x < self.left + 14 else "end" if x > self.width - self.right - 14 else "middle"
            shapes.append(tag("text", label, x=x, y=self.height - 5, class_="tick", text_anchor=anchor))
        return Markup("").join(shapes)

    def line(self, points: Sequence[tuple[float, float]], class_: str) -> Markup:
        """A line through points."""
        told = " ".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in points)
        return tag("polyline", points=told, class_=class_)

    def level(self, value: float, class_: str, label: str = "") -> Markup:
        """A line across, at a value of the y axis, with a word at its beginning."""
        y = self.down(value)
        shapes = [tag("line", x1=self.left, x2=self.width - self.right, y1=y, y2=y, class_=class_)]
        if label:
            shapes.append(tag("text", label, x=self.left + 3, y=y - 4, class_=f"tick {class_}"))
        return Markup("").join(shapes)

    def drawn(self, said: str, *shapes: Markup) -> Markup:
        """The whole drawing, and what it says in a sentence."""
        box = f"0 0 {self.width:g} {self.height:g}"
        return tag("svg", tag("title", said), *shapes, viewBox=box, class_="chart", role="img", aria_label=said)


def ticks(high: float, most: int = 4) -> list[float]:
    """Round numbers from 0 up to `high` or a little above.

    >>> ticks(87), ticks(0.9), ticks(0)
    ([0.0, 25.0, 50.0, 75.0, 100.0], [0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 1.0])
    """
    if high <= 0:
        return [0.0, 1.0]
    rough = high / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough * 0.999)
    return [step * i for i in range(math.ceil(high / step - 1e-9) + 1)]
