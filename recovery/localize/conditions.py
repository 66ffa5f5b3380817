"""The shortest condition that tells some rows of a table from the others, as a person would have
written it after WHERE: nothing, a value, a list of values, a range, or two of these together.

Decides over values handed in: it asks no database. Rows that say nothing (because they would look
the same either way) count for neither side. A few rows on the wrong side are tolerated: somebody
may have worked on them before or since.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal

from psycopg import sql

from diffing.model import Column

PER_ROW = 4.0  # bits that a row on the right side is worth
_UNWANTED_SHARE = 0.05
_LIST_MAX = 8  # values in a list
_SPREAD = 12  # conditions that are looked into for a second one
_INTEGERS = ("smallint", "integer", "bigint")

Row = Sequence[str | None]
Rank = tuple[Decimal, str]  # of numbers the text is empty, of times the number is nothing


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of a table, column by column in the order of `columns`. `wanted`: True for rows that
    the condition has to meet, False for those it must not, None where it makes no difference.
    `named`: wanted rows that somebody has named. The others may be there for reasons of their
    own: a condition meets most of the named rows, and lists no value that none of them has."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    wanted: Sequence[bool | None]
    named: frozenset[int] = frozenset()

    def among(self, places: Sequence[int]) -> "Sample":
        """Only these rows."""
        return Sample(
            self.columns,
            [self.rows[place] for place in places],
            [self.wanted[place] for place in places],
            frozenset(new for new, place in enumerate(places) if place in self.named),
        )


@dataclass(frozen=True, slots=True)
class Atom:
    """One comparison of a column. Of a range, `values` are its ends, None where it has none; of
    a list, its values, of which NULL is none."""

    place: int
    column: Column
    kind: Literal["list", "range", "null"]
    values: tuple[str | None, ...]
    bits: float

    def holds(self, row: Row) -> bool:
        text = row[self.place]
        match self.kind:
            case "null":
                return text is None
            case "list":
                return text is not None and text in self.values
            case "range":
                value = rank(self.column, text)
                if value is None:
                    return False
                low, high = (rank(self.column, end) for end in self.values)
                return (low is None or not value < low) and (high is None or not high < value)

    def text(self) -> sql.Composable:
        name = sql.Identifier(self.column.name)
        match self.kind, self.values:
            case "null", _:
                return sql.SQL("{} IS NULL").format(name)
            case "list", (value,):
                return sql.SQL("{} = {}").format(name, literal(self.column, value))
            case "list", values:
                listed = sql.SQL(", ").join(literal(self.column, one) for one in values)
                return sql.SQL("{} IN ({})").format(name, listed)
            case "range", (None, high):
                return sql.SQL("{} <= {}").format(name, literal(self.column, high))
            case "range", (low, None):
                return sql.SQL("{} >= {}").format(name, literal(self.column, low))
        low, high = self.values
        return sql.SQL("{} BETWEEN {} AND {}").format(
            name, literal(self.column, low), literal(self.column, high)
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """Comparisons that must all hold; none of them: every row. `met` and `wrong` are the wanted
    and unwanted rows of the sample that it meets."""

    atoms: tuple[Atom, ...]
    met: int
    wrong: int
    bits: float

    @property
    def merit(self) -> float:
        return PER_ROW * (self.met - self.wrong) - self.bits

    def text(self) -> sql.Composable:
        """What stands behind WHERE; nothing for every row."""
        return sql.SQL(" AND ").join(atom.text() for atom in self.atoms)


def conditions(sample: Sample) -> tuple[Condition, ...]:
    """Conditions that meet wanted rows and hardly any other, the best first."""
    wanted = sum(one is True for one in sample.wanted)
    whole = Condition((), wanted, sum(one is False for one in sample.wanted), 1.0)
    if not wanted:
        return ()
    found = [whole]
    singles = [_judged(sample, (atom,)) for atom in _atoms(sample)]
    found += singles
    if not _clean(whole):
        unclean = [one for one in singles if not _clean(one) and one.met * 2 >= wanted]
        unclean.sort(key=lambda one: (one.wrong - one.met, one.bits, _order(one)))
        for first in unclean[:_SPREAD]:
            found += _narrowed(sample, first)
    best = [one for one in found if one.met and _clean(one) and _meets_named(sample, one)]
    return tuple(sorted(best, key=lambda one: (-round(one.merit, 3), _order(one))))


def rank(column: Column, text: str | None) -> Rank | None:
    """Where the value is in the order of its column; None for what has no order here."""
    if text is None:
        return None
    if is_number(column):
        try:
            value = Decimal(text)
        except InvalidOperation:
            return None
        return (value, "") if value.is_finite() else None
    # ISO dates and times of one zone are in the order of their texts.
    timely = column.type == "date" or column.type.startswith("timestamp")
    ordered = timely and text[:1].isdigit() and not text.endswith("BC")
    return (Decimal(0), text) if ordered else None


def is_number(column: Column) -> bool:
    """Numbers that are exact."""
    return column.family == "numeric" or column.type in _INTEGERS


def literal(column: Column, text: str | None) -> sql.Composable:
    """The value as SQL: numbers as numbers, everything else as a quoted text."""
    number = is_number(column) and rank(column, text) is not None
    return sql.Literal(Decimal(str(text)) if number else text)


def _clean(one: Condition) -> bool:
    return one.wrong <= _UNWANTED_SHARE * one.met


def _meets_named(sample: Sample, one: Condition) -> bool:
    met = sum(all(atom.holds(sample.rows[place]) for atom in one.atoms) for place in sample.named)
    return met * 2 >= len(sample.named)


def _order(one: Condition) -> str:
    return one.text().as_string(None)


def _judged(sample: Sample, atoms: tuple[Atom, ...]) -> Condition:
    met = wrong = 0
    for row, wanted in zip(sample.rows, sample.wanted, strict=True):
        if wanted is not None and all(atom.holds(row) for atom in atoms):
            met += wanted
            wrong += not wanted
    return Condition(atoms, met, wrong, sum(atom.bits for atom in atoms))


def _narrowed(sample: Sample, first: Condition) -> Iterator[Condition]:
    """Two comparisons: the second one is looked for among the rows that the first one meets."""
    (known,) = first.atoms
    inside = sample.among([n for n, row in enumerate(sample.rows) if known.holds(row)])
    for second in _atoms(inside):
        if second.place != known.place:
            judged = _judged(inside, (second,))
            pair = (known, second) if known.place < second.place else (second, known)
            yield Condition(pair, judged.met, judged.wrong, known.bits + second.bits + 1)


@dataclass(slots=True)
class _Weight:
    met: int = 0
    wrong: int = 0
    named: int = 0


def _atoms(sample: Sample) -> Iterator[Atom]:
    choice = math.log2(max(len(sample.columns), 2))
    for place, column in enumerate(sample.columns):
        weights: dict[str | None, _Weight] = {}
        for number, row in enumerate(sample.rows):
            weight = weights.setdefault(row[place], _Weight())
            weight.met += sample.wanted[number] is True
            weight.wrong += sample.wanted[number] is False
            weight.named += number in sample.named
        said = math.log2(max(len(weights), 2))

        def atom(
            kind: Literal["list", "range", "null"],
            values: tuple[str | None, ...],
            bits: float,
            place: int = place,
            column: Column = column,
        ) -> Atom:
            return Atom(place, column, kind, values, choice + bits)

        if None in weights and weights[None].met:
            yield atom("null", (None,), 1.0)
        yield from _lists(column, weights, said, atom, only_named=bool(sample.named))
        yield from _ranges(column, weights, said, atom, only_named=bool(sample.named))


_Make = Callable[[Literal["list", "range", "null"], tuple[str | None, ...], float], Atom]


def _lists(
    column: Column,
    weights: dict[str | None, _Weight],
    said: float,
    atom: _Make,
    *,
    only_named: bool,
) -> Iterator[Atom]:
    """The values that meet the most rows, each by itself; and those that meet hardly others."""
    if column.family == "float":
        return
    known = [(value, one) for value, one in weights.items() if value is not None and one.met]
    known.sort(key=lambda pair: (pair[1].wrong - pair[1].met, -pair[1].met, pair[0]))
    for value, _ in known[:3]:
        yield atom("list", (value,), said)
    pure = sorted(
        value
        for value, one in known
        if one.wrong <= _UNWANTED_SHARE * one.met and (one.named or not only_named)
    )
    if 2 <= len(pure) <= _LIST_MAX:
        yield atom("list", tuple(pure), said * len(pure) + 1)


def _ranges(
    column: Column,
    weights: dict[str | None, _Weight],
    said: float,
    atom: _Make,
    *,
    only_named: bool,
) -> Iterator[Atom]:
    """The stretch of values in order that meets the most wanted rows for the fewest others,
    open at either end or at none. Rows of one value are a group, as in a list."""
    ordered: list[tuple[Rank, str, _Weight]] = []
    for value, weight in weights.items():
        place = rank(column, value)
        if place is not None and value is not None:
            ordered.append((place, value, weight))
    if len(ordered) < 2:
        return
    ordered.sort(key=lambda one: one[0])
    spans = _best_spans([one.met - one.wrong for _, _, one in ordered])
    for first, last in dict.fromkeys(spans):
        # Its ends are values of wanted rows: what lies between them and the next is not known.
        inside = [value for _, value, one in ordered[first : last + 1] if one.met]
        groups = [weights[value] for value in inside if weights[value].met > 1]
        if not inside or (only_named and not all(one.named for one in groups)):
            continue
        low = None if first == 0 else inside[0]
        high = None if last == len(ordered) - 1 else inside[-1]
        if low is not None or high is not None:
            ends = (low is not None) + (high is not None)
            yield atom("range", (low, high), said * ends + 1)


def _best_spans(gains: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The best stretch from the first value on, up to the last value, and anywhere."""
    last = len(gains) - 1
    total, best, end = 0, 0, -1
    for place, gain in enumerate(gains):
        total += gain
        if total > best:
            best, end = total, place
    if end >= 0:
        yield 0, end
    total, best, start = 0, 0, -1
    for place in range(last, -1, -1):
        total += gains[place]
        if total > best:
            best, start = total, place
    if start >= 0:
        yield start, last
    total = best = 0
    begin, span = 0, None
    for place, gain in enumerate(gains):
        if total <= 0:
            total, begin = 0, place
        total += gain
        if total > best:
            best, span = total, (begin, place)
    if span is not None:
        yield span
