"""Relations between features, written as a person would: "total <= open + closed", "rate == paid / (loans + 1)".

Read with Python's own parser and a short list of what may stand in one; nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vauban.errors import BadPlan, nearest

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "**",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
FUNCTIONS = {"min": 2, "max": 2, "abs": 1, "log": 1}
"""Known functions, with the least number of arguments."""
ALLOWED = "numbers, feature names, + - * / % **, comparisons, `in`, and, or, not of a comparison, min, max, abs, log"


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Column:
    """A feature, by its place."""

    index: int


@dataclass(frozen=True, slots=True)
class Term:
    """An operator or function of terms: "+", "-", "*", "/", "%", "**", "min", "max", "abs", "log"."""

    op: str
    args: tuple[Number | Column | Term, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two terms compared: "<", "<=", "==" or "!="."""

    op: str
    left: Number | Column | Term
    right: Number | Column | Term


@dataclass(frozen=True, slots=True)
class Every:
    """All of several conditions."""

    parts: tuple[Comparison | Every | Some, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of several conditions."""

    parts: tuple[Comparison | Every | Some, ...]


Expression = Number | Column | Term
Condition = Comparison | Every | Some


@dataclass(frozen=True, slots=True)
class Relation:
    """A condition on the features of one input.

    Attributes:
        text: as it was written.
        condition: what it says.
    """

    text: str
    condition: Condition

    @property
    def assignments(self) -> tuple[tuple[int, Expression], ...]:
        """The features that it defines outright, each with the term that it must equal: none, one, or for "a == b" both ways."""
        c = self.condition
        if not isinstance(c, Comparison) or c.op != "==":
            return ()
        sides = ((c.left, c.right), (c.right, c.left))
        return tuple((one.index, other) for one, other in sides if isinstance(one, Column) and one.index not in columns_of(other))

    @property
    def choices(self) -> tuple[int, tuple[float, ...]] | None:
        """The feature that it confines to a few values, and these: those of "term in (36, 60)". None where it is no such relation."""
        c = self.condition
        parts = c.parts if isinstance(c, Some) else ()
        found = [(p.left.index, p.right.value) for p in parts if isinstance(p, Comparison) and _is_choice(p)]  # pyright: ignore[reportAttributeAccessIssue]
        if not found or len(found) < len(parts) or len({place for place, _ in found}) > 1:
            return None
        return found[0][0], tuple(value for _, value in found)


def _is_choice(c: Comparison) -> bool:
    return c.op == "==" and isinstance(c.left, Column) and isinstance(c.right, Number)


def columns_of(node: Expression | Condition) -> frozenset[int]:
    """The features that something speaks of, by place."""
    if isinstance(node, Number):
        return frozenset()
    if isinstance(node, Column):
        return frozenset((node.index,))
    inner = (node.left, node.right) if isinstance(node, Comparison) else node.args if isinstance(node, Term) else node.parts
    return frozenset[int]().union(*map(columns_of, inner))


def read_relation(text: str, names: Sequence[str]) -> Relation:
    """A relation between features of these names. A name that is no single word stands in backquotes: `` `late fees` <= 100``.

    Division by 0 is 0, and the logarithm is that of numbers from 1e-12 on, so that a relation always says something.

    Raises:
        BadPlan: it cannot be read, names an unknown feature, or has something in it that may not stand there.

    >>> read_relation("total == paid + due", ["paid", "due", "total"]).assignments[0][0]
    2
    """
    return _Reader(text, names).relation()


class _Reader:
    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.places = text, {name: i for i, name in enumerate(names)}
        self.quoted: dict[str, str] = {}

    def relation(self) -> Relation:
        try:
            tree = ast.parse(re.sub(r"`([^`]*)`", self._stand_in, self.text.strip()), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._wrong("cannot be read; write it like 'total <= open + closed'") from error
        return Relation(self.text, self._condition(tree.body))

    def _stand_in(self, match: re.Match[str]) -> str:
        word = f"_quoted_{len(self.quoted)}"
        self.quoted[word] = match[1]
        return word

    def _wrong(self, why: str) -> BadPlan:
        return BadPlan(f"relation {self.text!r}: {why}")

    def _condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            parts = tuple(self._condition(v) for v in node.values)
            return Every(parts) if isinstance(node.op, ast.And) else Some(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _opposite(self._condition(node.operand))
        if not isinstance(node, ast.Compare):
            raise self._wrong(f"{ast.unparse(node)} is no condition; compare it with something, such as 'total <= open + closed'")
        pairs = zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
        parts = tuple(self._compared(*pair) for pair in pairs)
        return parts[0] if len(parts) == 1 else Every(parts)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(op, ast.In) and isinstance(right, ast.Tuple | ast.List | ast.Set) and right.elts:
            choices = tuple(Comparison("==", self._term(left), self._term(v)) for v in right.elts)
            return choices[0] if len(choices) == 1 else Some(choices)
        if type(op) not in OPERATORS:
            raise self._wrong(f"{type(op).__name__} may not stand in it; only {ALLOWED}")
        word, a, b = OPERATORS[type(op)], self._term(left), self._term(right)
        return Comparison(word.replace(">", "<"), b, a) if word in (">", ">=") else Comparison(word, a, b)

    def _term(self, node: ast.expr) -> Expression:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return Number(float(node.value))
        if isinstance(node, ast.Name):
            return self._column(self.quoted.get(node.id, node.id))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = self._term(node.operand)
            return Term("-", (Number(0.0), inner)) if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return Term(OPERATORS[type(node.op)], (self._term(node.left), self._term(node.right)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args)
        raise self._wrong(f"{ast.unparse(node)} may not stand in it; only {ALLOWED}")

    def _call(self, name: str, args: list[ast.expr]) -> Expression:
        if name not in FUNCTIONS:
            raise self._wrong(f"no function {name!r} is known here; {nearest(name, FUNCTIONS)}")
        least = FUNCTIONS[name]
        if len(args) < least or (least == 1 and len(args) > 1):
            raise self._wrong(f"{name} takes {'one value' if least == 1 else 'two values or more'}")
        return Term(name, tuple(self._term(a) for a in args))

    def _column(self, name: str) -> Column:
        if name not in self.places:
            raise self._wrong(f"no feature is named {name!r}; {nearest(name, self.places)}")
        return Column(self.places[name])


_OPPOSITES = {"==": "!=", "!=": "=="}


def _opposite(c: Condition) -> Condition:
    if isinstance(c, Every):
        return Some(tuple(map(_opposite, c.parts)))
    if isinstance(c, Some):
        return Every(tuple(map(_opposite, c.parts)))
    if c.op in _OPPOSITES:
        return Comparison(_OPPOSITES[c.op], c.left, c.right)
    return Comparison("<=" if c.op == "<" else "<", c.right, c.left)
