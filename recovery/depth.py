"""How deep and how surely each table can be restored: counts over the relation `damage`.

A damaged cell counts at its grade; a row counts once, at the worst grade of its cells, so that
rows add up to the rows that are damaged. A whole missing or extra row is one entry of `damage`
and counts as one cell. Nothing here looks at values: the grades were given by localization.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import duckdb

from recovery.model import SAFE, Fault, Grade, Label, TableDepth

_Named = TypeVar("_Named", Grade, Label)


class Word(StrEnum):
    """The four words a customer reads; grades are for the details."""

    EXACTLY = "exactly"
    PROBABLY = "probably"
    DECISION = "your_decision"
    LOST = "lost"


WORD_OF: Mapping[Grade, Word] = {
    Grade.PROVEN: Word.EXACTLY,
    Grade.CONSISTENT: Word.EXACTLY,
    Grade.DERIVED: Word.PROBABLY,
    Grade.STALE: Word.PROBABLY,
    Grade.UNDECIDED: Word.DECISION,
    Grade.LOST: Word.LOST,
}


@dataclass(frozen=True, slots=True)
class Legitimate:
    """Cells of one table that changed since the backup and are kept."""

    documented: int = 0
    undocumented: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """When the two states were taken; None where the source does not say."""

    backup: datetime | None = None
    current: datetime | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """All tables together. `tables` counts those with damage."""

    tables: int
    cells: tuple[tuple[Grade, int], ...]
    rows: tuple[tuple[Grade, int], ...]
    labels: tuple[tuple[Label, int], ...]
    legitimate: Legitimate


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the damaged cells that comes back exactly, between 0 and 1.

    `lower`: what is proven or consistent. `upper`: everything that is not lost. `expected`: a
    cell below consistent counts with the probability of its fault, an undecided one not at all,
    because its value is chosen by a person.
    """

    lower: float
    expected: float
    upper: float


_CELLS = 'SELECT "table", grade, count(*) FROM damage GROUP BY ALL ORDER BY ALL'
_LABELS = 'SELECT "table", label, count(*) FROM damage GROUP BY ALL ORDER BY ALL'
_ROWS = """
    SELECT "table", worst, count(*) FROM (
        SELECT "table", key, max(list_position($grades, grade)) AS worst
        FROM damage GROUP BY "table", key)
    GROUP BY ALL ORDER BY ALL"""
_BY_FAULT = "SELECT fault, grade, count(*) FROM damage GROUP BY ALL ORDER BY ALL"


def table_depths(
    facts: duckdb.DuckDBPyConnection,
    *,
    tables: Iterable[str] = (),
    legitimate: Mapping[str, Legitimate] | None = None,
    taken: Taken = Taken(),
) -> tuple[TableDepth, ...]:
    """One entry per table that was compared (`tables`), has damage, or has work that is kept, by
    name. The recovery point is when the current state was taken where all damage is safe, else
    the backup's time."""
    kept = legitimate or {}
    cells = _grades(facts.execute(_CELLS).fetchall())
    labels: dict[str, list[tuple[Label, int]]] = {}
    for table, label, count in facts.execute(_LABELS).fetchall():
        labels.setdefault(table, []).append((Label(label), count))
    ranked = facts.execute(_ROWS, {"grades": [str(grade) for grade in Grade]}).fetchall()
    order = tuple(Grade)
    rows = _grades([(table, order[worst - 1], count) for table, worst, count in ranked])
    return tuple(
        TableDepth(
            table=table,
            cells=cells.get(table, ()),
            rows=rows.get(table, ()),
            labels=_summed(Label, labels.get(table, ())),
            documented=kept.get(table, Legitimate()).documented,
            undocumented=kept.get(table, Legitimate()).undocumented,
            recovery_point=taken.current if _all_safe(cells.get(table, ())) else taken.backup,
        )
        for table in sorted({*tables, *cells, *kept})
    )


def totals(depths: Iterable[TableDepth]) -> Totals:
    """The sums over all tables."""
    seen = tuple(depths)
    return Totals(
        tables=sum(1 for depth in seen if depth.cells),
        cells=_summed(Grade, [pair for depth in seen for pair in depth.cells]),
        rows=_summed(Grade, [pair for depth in seen for pair in depth.rows]),
        labels=_summed(Label, [pair for depth in seen for pair in depth.labels]),
        legitimate=Legitimate(
            documented=sum(depth.documented for depth in seen),
            undocumented=sum(depth.undocumented for depth in seen),
        ),
    )


def share(facts: duckdb.DuckDBPyConnection, faults: Iterable[Fault]) -> Share | None:
    """The expected exact share with its bounds; None where nothing is damaged. A fault that is
    not among `faults` has probability 0: nothing is expected of what nobody explains."""
    probability = {fault.id: fault.probability for fault in faults}
    counts = [
        (fault, Grade(grade), count) for fault, grade, count in facts.execute(_BY_FAULT).fetchall()
    ]
    cells = sum(count for _, _, count in counts)
    if cells == 0:
        return None
    exact = sum(count for _, grade, count in counts if grade in SAFE)
    lost = sum(count for _, grade, count in counts if grade is Grade.LOST)
    likely = sum(
        count * probability.get(fault, 0.0)
        for fault, grade, count in counts
        if WORD_OF[grade] is Word.PROBABLY
    )
    return Share(exact / cells, (exact + likely) / cells, (cells - lost) / cells)


def words(grades: Iterable[tuple[Grade, int]]) -> tuple[tuple[Word, int], ...]:
    """Counts by grade as counts by the customer's word; all four words, zeros included."""
    pairs = tuple(grades)
    return tuple(
        (word, sum(count for grade, count in pairs if WORD_OF[grade] is word)) for word in Word
    )


def all_safe(depth: TableDepth) -> bool:
    """Whether every damaged cell of the table comes back exactly (true without damage)."""
    return _all_safe(depth.cells)


def _all_safe(cells: Sequence[tuple[Grade, int]]) -> bool:
    return all(grade in SAFE for grade, _ in cells)


def _grades(
    counts: Iterable[tuple[str, str, int]],
) -> Mapping[str, tuple[tuple[Grade, int], ...]]:
    found: dict[str, list[tuple[Grade, int]]] = {}
    for table, grade, count in counts:
        found.setdefault(table, []).append((Grade(grade), count))
    return {table: _summed(Grade, pairs) for table, pairs in found.items()}


def _summed(
    order: Iterable[_Named], pairs: Sequence[tuple[_Named, int]]
) -> tuple[tuple[_Named, int], ...]:
    sums = {name: sum(count for found, count in pairs if found is name) for name in order}
    return tuple((name, count) for name, count in sums.items() if count)
