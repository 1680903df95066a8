"""What an answer says: for each row, scores, a label, or a refusal, found in the body by JMESPath."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from vauban.errors import BadPlan, Malformed, nearest
from vauban.target.http.settings import Answer

REFUSED = {"refused": True}
TOP = "the expression for"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one row.

    Attributes:
        scores: one number for each class, or one alone, as the endpoint gave them; None where it shows labels only.
        label: the predicted class, where it says one.
        refused: whether it declined to answer.
    """

    scores: tuple[float, ...] | None = None
    label: int | None = None
    refused: bool = False

    def text(self) -> str:
        """As JSON; `Reply.read` takes it back."""
        if self.refused:
            return json.dumps(REFUSED)
        return json.dumps({"scores": self.scores, "label": self.label})

    @classmethod
    def read(cls, text: str) -> Reply:
        found = json.loads(text)
        if found == REFUSED:
            return cls(refused=True)
        return cls(None if found["scores"] is None else tuple(found["scores"]), found["label"])


class Unread(Exception):
    """A body that is not what was agreed: why."""


class Reader:
    """Reads bodies.

    Args:
        answer: where things are.

    Attributes:
        classes: how many classes there are, once known.

    Raises:
        BadPlan: an expression is no JMESPath.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self._find = {k: _compiled(k, getattr(answer, k)) for k in ("rows", "label", "scores", "confidence", "accept", "refused_if")}
        named = answer.classes
        self._index = dict(named) if isinstance(named, Mapping) else {name: i for i, name in enumerate(named)}
        self.classes: int | None = 2 if answer.accept else len(set(self._index.values())) or None
        self._width: int | None = None

    def refuses(self, status: int, text: str) -> bool:
        """Whether a status or a text is a refusal of the whole request."""
        said = self.answer.refused_text
        return status in self.answer.refused_status or bool(said and re.search(said, text))

    def read(self, text: str, rows: int) -> list[Reply]:
        """The replies to so many rows.

        Raises:
            Unread: it is not what was agreed.
            Malformed: the number of classes changed.
        """
        return [self._reply(part) for part in self._parts(_json(text), rows)]

    def check(self, reply: Reply) -> Reply:
        """A reply from a journal, or a new one.

        Raises:
            Malformed: it has another number of scores than the first one had.
        """
        if reply.scores is None:
            return reply
        width = len(reply.scores)
        if self._width is not None and width != self._width:
            raise Malformed(f"answered {self._width} scores at first, and now {width}; the number of classes must not change")
        self._width = width
        self.classes = max(self.classes or 2, width)
        return reply

    def _parts(self, body: Any, rows: int) -> list[Any]:
        if self._find["rows"] is None:
            if rows > 1:
                raise Unread(f"{rows} rows were asked at once, and the answer has no expression rows for the list")
            return [body]
        found = self._search("rows", body)
        if not isinstance(found, list):
            raise Unread(f"{TOP} rows, {self.answer.rows!r}, finds {_kind(found)} and no list")
        many = cast("list[Any]", found)
        if len(many) != rows:
            raise Unread(f"{len(many)} answers to {rows} rows")
        return many

    def _reply(self, part: Any) -> Reply:
        if self._search("refused_if", part):
            return Reply(refused=True)
        if self.answer.accept:
            return Reply(label=self._accepted(self._value("accept", part)))
        label = None if self._find["label"] is None else self._class(self._value("label", part))
        if self.answer.confidence:
            return self.check(Reply(self._shared(label or 0, self._value("confidence", part)), label))
        scores = None if self._find["scores"] is None else self._scores(self._value("scores", part))
        return self.check(Reply(scores, label))

    def _value(self, key: str, part: Any) -> Any:
        found = self._search(key, part)
        if found is None:
            raise Unread(f"{TOP} {key}, {getattr(self.answer, key)!r}, finds nothing")
        return found

    def _search(self, key: str, part: Any) -> Any:
        from jmespath.exceptions import JMESPathError

        expression = self._find[key]
        try:
            return None if expression is None else expression.search(part)
        except JMESPathError as error:
            raise Unread(f"{TOP} {key}, {getattr(self.answer, key)!r}, does not fit the answer: {_first_line(error)}") from error

    def _class(self, said: Any) -> int:
        if isinstance(said, str) and said in self._index:
            return self._index[said]
        if isinstance(said, str) and self._index:
            raise Unread(f"label {said[:40]!r} is not among the classes; {nearest(said[:40], self._index)}")
        if isinstance(said, str) and said.isdecimal():
            said = int(said)
        if not isinstance(said, int) or isinstance(said, bool):
            raise Unread(f"label is {_kind(said)}, and neither a class name that is known nor a number")
        if said < 0 or (self.classes is not None and said >= self.classes):
            raise Unread(f"label {said} is no class; there are {self.classes}, from 0")
        return said

    @staticmethod
    def _accepted(said: Any) -> int:
        if isinstance(said, bool):
            return int(said)
        raise Unread(f"accept finds {_kind(said)}; compare in the expression so that it is true or false, such as decision == 'live'")

    def _scores(self, said: Any) -> tuple[float, ...]:
        if isinstance(said, Mapping):
            return self._named(cast("Mapping[str, Any]", said))
        if isinstance(said, list):
            many = cast("list[Any]", said)
            pairs = [cast("list[Any]", p) for p in many if isinstance(p, list)]
            if many and len(pairs) == len(many) and all(len(p) == 2 and isinstance(p[0], str) for p in pairs):
                return self._named(dict(cast("list[tuple[str, Any]]", pairs)))
            if self._index and 1 < len(many) < (self.classes or 0):  # more than are named is no fault: data may lack a class
                raise Malformed(f"answered {len(many)} scores, and {self.classes} classes are named")
            return tuple(_number(v) for v in many) if many else _nothing()
        return (_number(said),)

    def _named(self, said: Mapping[str, Any]) -> tuple[float, ...]:
        """Scores by name; without names, in the order of the names."""
        if not self._index:
            self._index = {name: i for i, name in enumerate(sorted(said))}
            self.classes = len(self._index)
        unknown = [name for name in said if name not in self._index]
        if unknown:
            raise Malformed(
                f"answered a score for {unknown[0][:40]!r}, which is not among the classes; {nearest(unknown[0][:40], self._index)}"
            )
        found = {self._index[name]: _number(value) for name, value in said.items()}
        missing = (self.classes or 0) - len(found)
        if missing and not found:
            _nothing()
        rest = self._rest(list(found.values()), missing) if missing else 0.0
        return tuple(found.get(i, rest) for i in range(self.classes or 0))

    def _rest(self, shown: Sequence[float], missing: int) -> float:
        """The score of each class that is not shown: what is left of a probability, never more than the least that is shown."""
        if self.answer.outputs == "probabilities":
            return min(max(1.0 - sum(shown), 0.0) / missing, *shown)
        raise Unread(f'{missing} classes have no score; where only the best are shown, say outputs = "probabilities"')

    def _shared(self, label: int, said: Any) -> tuple[float, ...]:
        """Probabilities of which only the largest is known."""
        count, share = self.classes or 2, _number(said)
        if not 0 <= share <= 1:
            raise Unread(f"confidence is {share:g}, and must lie in [0, 1]")
        top = max(share, 1 / count + 1e-9)  # the predicted class leads, whatever was rounded away
        return tuple(top if i == label else (1 - top) / (count - 1) for i in range(count))


def _compiled(key: str, expression: str) -> Any:
    if not expression:
        return None
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return cast("Any", jmespath).compile(expression)
    except JMESPathError as error:
        raise BadPlan(f"{key} = {expression!r} is no JMESPath expression: {_first_line(error)}") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if re.match(r"\s*<(!doctype|html|head|body)", text, re.IGNORECASE):
            raise Unread("the answer is an HTML page and no JSON") from None
        raise Unread("the answer is no JSON" if text.strip() else "the answer is empty") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise Unread(f"a score is {_kind(value)} and no number")


def _nothing() -> tuple[float, ...]:
    raise Unread("there are no scores in the answer")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"the number {value!r}")
