"""Statements that every attempt runs: compiled by SQLAlchemy once for each kind of database, and from then on run by the driver itself.

SQLAlchemy computes longer for one execution than SQLite does. What it knows is asked once and kept: the text, the order of the
parameters, what converts them, and what converts the columns of a row.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

Parameters = Mapping[str, Any]
Convert = Callable[[Any], Any]


class Prepared:
    """A statement that is run often, with parameters that have names.

    Args:
        statement: SQLAlchemy's. What it inserts or sets is named by the first parameters that it is run with, and every time the same; no
            parameter of it is a list, which would need a text of its own for every length.
    """

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self._plans: dict[str, _Plan] = {}

    def run(self, connection: Connection, parameters: Parameters | Sequence[Parameters]) -> Answer:
        """Execute it, or execute it for each of several sets of parameters, within the transaction of a connection.

        Raises:
            KeyError: a parameter has no value, or there is one that the statement does not have.
            TypeError: a parameter is a list.
            Exception: the driver's own errors, which `Store` tells.
        """
        plan = self._plans.get(connection.dialect.name)
        if plan is None:
            plan = self._plans[connection.dialect.name] = _Plan(self.statement, connection, parameters)
        cursor = connection.connection.cursor()
        if isinstance(parameters, Mapping):
            cursor.execute(plan.text, plan.given(parameters))
        else:
            cursor.executemany(plan.text, [plan.given(each) for each in parameters])
        return Answer(cursor, plan)


class Answer:
    """What a statement found, or how many rows it changed. Rows are named tuples, as the driver has them but for the conversions."""

    __slots__ = ("_cursor", "_plan")

    def __init__(self, cursor: Any, plan: _Plan) -> None:
        self._cursor, self._plan = cursor, plan

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        return int(self._cursor.rowcount)

    def all(self) -> list[Any]:
        """Every row."""
        make = self._plan.maker(self._cursor.description)
        rows = [make(row) for row in self._cursor.fetchall()]
        self._cursor.close()
        return rows

    def first(self) -> Any:
        """The first row, or None; the others are let go of."""
        make = self._plan.maker(self._cursor.description)
        row = self._cursor.fetchone()
        self._cursor.close()
        return None if row is None else make(row)

    def one(self) -> Any:
        """The only row.

        Raises:
            LookupError: there is none, or another one.
        """
        rows = self.all()
        if len(rows) != 1:
            raise LookupError(f"{len(rows)} rows instead of one")
        return rows[0]

    def scalar(self) -> Any:
        """The first column of the first row, or None."""
        row = self.first()
        return None if row is None else row[0]


class _Plan:
    """What is known of a statement on one kind of database."""

    def __init__(self, statement: Any, connection: Connection, parameters: Parameters | Sequence[Parameters]) -> None:
        dialect = connection.dialect
        first = parameters if isinstance(parameters, Mapping) else parameters[0]
        compiled = statement.compile(dialect=dialect, column_keys=list(first))
        self.text = str(compiled)
        if "__[POSTCOMPILE" in self.text:
            raise TypeError(f"a list cannot be a parameter of a prepared statement: {self.text}")
        self.dialect, self.columns = dialect, list(getattr(statement, "exported_columns", ()))
        self.order: Sequence[str] | None = compiled.positiontup
        self.fixed: dict[str, Any] = {}
        self.converts: dict[str, Convert] = {}
        for bind, name in compiled.bind_names.items():
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if not bind.required:
                self.fixed[name] = bind.effective_value if convert is None else convert(bind.effective_value)
            elif convert is not None:
                self.converts[name] = convert
        self.wanted = tuple(dict.fromkeys(name for name in compiled.bind_names.values() if name not in self.fixed))
        self._make: Convert | None = None

    def given(self, parameters: Parameters) -> Any:
        """The parameters as the driver takes them: in their order, or by name."""
        if len(parameters) != len(self.wanted):
            raise KeyError(f"a prepared statement takes {sorted(self.wanted)}, and was given {sorted(parameters)}")
        found = dict(self.fixed)
        for name in self.wanted:
            found[name] = parameters[name]
        for name, convert in self.converts.items():
            found[name] = convert(found[name])
        return found if self.order is None else [found[name] for name in self.order]

    def maker(self, description: Sequence[Any]) -> Convert:
        """What makes a named tuple of a row, from what the driver tells of its columns."""
        if self._make is None:
            kinds = [column.type.dialect_impl(self.dialect) for column in self.columns]
            converts = [kind.result_processor(self.dialect, told[1]) for kind, told in zip(kinds, description, strict=True)]
            self._make = _maker(namedtuple("Row", [told[0] for told in description])._make, converts)  # type: ignore[misc]
        return self._make


def _maker(make: Convert, converts: Sequence[Convert | None]) -> Convert:
    if not any(converts):
        return make
    return lambda row: make([value if convert is None else convert(value) for value, convert in zip(row, converts, strict=True)])
