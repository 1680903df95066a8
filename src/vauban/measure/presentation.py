"""The error rates of presentation attack detection (ISO/IEC 30107-3): APCER of each species, BPCER, ACER; with exact intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vauban.errors import BadData, nearest
from vauban.measure.exact import clopper_pearson
from vauban.measure.rate import ExactRate


@dataclass(frozen=True, slots=True)
class Species:
    """Attack presentations with one species of instrument, and the share of them taken for bona fide."""

    name: str
    apcer: ExactRate


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a liveness check errs.

    Attributes:
        species: each with its APCER; the standard wants them one by one, and never their mean.
        bpcer: bona fide presentations that were not accepted.
    """

    species: tuple[Species, ...]
    bpcer: ExactRate

    @property
    def worst(self) -> Species:
        """The species that passes most often; of several, the first."""
        return max(self.species, key=lambda s: s.apcer.value)

    @property
    def apcer(self) -> float:
        """The APCER of the worst species."""
        return self.worst.apcer.value

    @property
    def apcer_interval(self) -> tuple[float, float]:
        """An interval for the highest true APCER of all species: Clopper-Pearson for each at a level that holds for all at once (Bonferroni),
        since the worst was picked after looking."""
        return self._highest(self._shared(len(self.species)))

    @property
    def acer(self) -> float:
        """The mean of the worst species' APCER and of BPCER. It is no measure of the current edition of ISO/IEC 30107-3, which wants the two
        reported apart, and is still asked for. NaN without bona fide presentations."""
        return (self.apcer + self.bpcer.value) / 2

    @property
    def acer_interval(self) -> tuple[float, float]:
        """The mean of the intervals of its parts, at a level that holds for all at once (Bonferroni)."""
        level = self._shared(len(self.species) + 1)
        parts = self._highest(level), clopper_pearson(self.bpcer.hits, self.bpcer.rows, level)
        low, high = (sum(ends) / 2 for ends in zip(*parts, strict=True))
        return low, high

    def _shared(self, intervals: int) -> float:
        return 1 - (1 - self.bpcer.level) / intervals

    def _highest(self, level: float) -> tuple[float, float]:
        lows, highs = zip(*(clopper_pearson(s.apcer.hits, s.apcer.rows, level) for s in self.species), strict=True)
        return max(lows), max(highs)


def presentation_errors(
    labels: Iterable[Any],
    decisions: Iterable[Any],
    species: Iterable[str],
    bona_fide: object = "live",
    expected: Sequence[str] = (),
    level: float = 0.95,
) -> Presentation:
    """APCER of every species, and BPCER, from decisions.

    A decision that names neither side, such as a refusal, counts as "not accepted": against the check for a bona fide presentation, and for it
    for an attack.

    Args:
        labels: the true class of each presentation, (n,).
        decisions: the class that the check answered, (n,).
        species: the species of the attack instrument of each presentation, (n,); of bona fide ones it is not looked at.
        bona_fide: the class of bona fide presentations; every other class is an attack.
        expected: species that must be there; by default those that are.
        level: of the intervals.

    Raises:
        BadData: lengths that differ, an attack without a species, no bona fide or no attack presentation, a species expected without one, or
            one that is not expected.

    >>> found = presentation_errors(["spoof"] * 3 + ["live"] * 2, ["live", "spoof", "spoof", "live", "live"], ["print"] * 3 + [""] * 2)
    >>> found.worst.name, found.apcer, found.bpcer.value
    ('print', 0.3333333333333333, 0.0)
    """
    rows = list(zip(*map(_listed, _same_length(labels, decisions, species)), strict=True))
    accepted, tried, genuine = Counter[str](), Counter[str](), Counter[bool]()
    for i, (label, decision, name) in enumerate(rows):
        passed = bool(decision == bona_fide)
        if bool(label == bona_fide):
            genuine[passed] += 1
            continue
        if not str(name):
            raise BadData(f"presentation {i} is an attack of no species; say what instrument it used, such as 'print'")
        tried[str(name)] += 1
        accepted[str(name)] += passed
    _check(tried, genuine, expected, bona_fide)
    found = tuple(Species(n, ExactRate(accepted[n], tried[n], level)) for n in (expected or sorted(tried)))
    return Presentation(found, ExactRate(genuine[False], genuine.total(), level))


def _same_length(labels: Iterable[Any], decisions: Iterable[Any], species: Iterable[str]) -> tuple[list[Any], list[Any], list[Any]]:
    parts = _listed(labels), _listed(decisions), _listed(species)
    if len({len(p) for p in parts}) > 1:
        n, m, k = map(len, parts)
        raise BadData(f"{n} labels, {m} decisions and {k} species; each presentation needs one of each")
    return parts


def _listed(values: Any) -> list[Any]:
    """Plain values of a list, an array or a tensor."""
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _check(tried: Counter[str], genuine: Counter[bool], expected: Sequence[str], bona_fide: object) -> None:
    if not tried:
        raise BadData("no attack presentation: APCER has nothing to count; give rows of every species")
    if not genuine:
        raise BadData(
            f"no bona fide presentation (class {bona_fide!r}): BPCER has nothing to count; give some, or name the class with bona_fide="
        )
    for name in expected:
        if not tried[name]:
            raise BadData(f"no presentation of species {name!r}: nothing is known of it, which is not an APCER of 0; present some")
    strange = next((n for n in sorted(tried) if expected and n not in expected), None)
    if strange is not None:
        raise BadData(f"species {strange!r} is not among those expected; {nearest(strange, expected)}")
