"""mangled-values: values were spoiled on a way through a spreadsheet, an import or a form.

was: 00042   4276550012345678   03.11.2026   Łukasz
is:  42      4276550012345670   11.03.2026   ?ukasz

Such a way can be known: the backup's value goes in, and the current one comes out, over a batch of
rows. It is claimed when no work on purpose looks like it; what looks as if somebody had wanted it
(rounding, trimming, capitals) only when people say that it is wrong, or when the same rows came
back from the same way with columns that nobody would spoil.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from diffing.model import Column, Table
from recovery.localize.batches import candidates, cells_told, overlap, parameters, vouched
from recovery.localize.hypothesis import Candidate, Hypothesis, in_one_column
from recovery.localize.looks import END
from recovery.localize.mangles import Mangle, cut, fitting, kind_of
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.transforms import (
    ROWS_MIN,
    WORK_MIN,
    Batch,
    Change,
    batch,
    cell,
    look,
    rows_of,
    suspects,
    text_of,
    typed,
    unsteady,
)
from recovery.messages import message
from recovery.model import FaultClass, Variant

_WORDS_CUT = 0.4  # share of texts that end inside a word when a length cuts them

# The length that most of the shortened texts have now, and how many of them end inside a word.
_CUT = """
WITH short AS (
    SELECT length(current) AS length, regexp_matches(substr(predicted, length(current)::INTEGER, 2),
           '^[[:alpha:]][[:alpha:]]$|^[\u0400-\u04ff]{2}$') AS inside
    FROM residue
    WHERE "table" = $table AND "column" = $column AND kind = 'changed' AND current <> ''
      AND length(current) < length(predicted) AND starts_with(predicted, current))
SELECT length, count(*), count(*) FILTER (inside) FROM short
GROUP BY length ORDER BY count(*) DESC, length LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A mangle and its batch. `one_to_one`: it tells the values of this column apart."""

    mangle: Mangle
    batch: Batch
    one_to_one: bool

    @property
    def sure(self) -> bool:
        match self.mangle.evidence:
            case "evident":
                return True
            case "batch":
                return self.batch.described and self.batch.hits >= WORK_MIN
            case "work":
                return False


def ask(scene: Scene) -> Iterator[Variant]:
    for change, mangle in _changes(scene):
        yield look(change)
        if mangle.tells == "width":
            yield _widths(change.table, change.column)


def propose(scene: Scene) -> Iterator[Candidate]:
    by_table: dict[str, list[_Found]] = {}
    for change, mangle in _changes(scene):
        found = batch(scene, change, possible=mangle.possible)
        if found is not None:
            told = _Found(mangle, found, _tells_apart(scene, change, mangle))
            by_table.setdefault(change.table.name, []).append(told)
    for found_there in by_table.values():
        chosen = _claimed(scene, _apart(scene, found_there))
        if chosen:
            batches = [one.batch for one in chosen]
            mixed = {one.batch.change.column.name for one in chosen if not one.one_to_one}
            known = frozenset(one.change.column.name for one in batches) - mixed
            told_there = parameters(batches)
            yield from candidates(scene, FaultClass.MANGLED_VALUES, batches, told_there, known)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "{hits} values are what comes out when the former ones are mangled in a known way ({how})",
        hits=cells_told(candidate),
        how="; ".join(
            value if name == "how" else f"{name}: {value}"
            for name, value in candidate.parameters
            if name not in ("table", "column", "rows", "cells")
        ),
    )


def _changes(scene: Scene) -> Iterator[tuple[Change, Mangle]]:
    for table, column, _ in suspects(scene, lambda one: kind_of(one) is not None):
        for mangle in _suspected(scene, table, column):
            made = typed(column, mangle.make(cell(column)))
            yield Change(table, column, mangle.how, made, unsteady(scene, table)), mangle


def _suspected(scene: Scene, table: Table, column: Column) -> Iterator[Mangle]:
    """Mangles whose sign enough cells bear."""
    kind = kind_of(column)
    assert kind is not None
    known = tuple(fitting(kind))
    places = {"table": table.name, "column": column.name}
    counts = scene.facts.execute(
        "SELECT " + ", ".join(f"count(*) FILTER ({one.sign})" for one in known) + " FROM residue"
        ' WHERE "table" = $table AND "column" = $column AND kind = \'changed\'',
        places,
    ).fetchone()
    assert counts is not None
    yield from (one for one, n in zip(known, counts, strict=True) if n >= ROWS_MIN)
    shortened = scene.facts.execute(_CUT, places).fetchone() if kind == "text" else None
    if shortened is not None and shortened[1] >= ROWS_MIN:
        length, count, inside = (int(number) for number in shortened)
        yield cut(length, inside_words=inside >= _WORDS_CUT * count)


def _widths(table: Table, column: Column) -> Variant:
    """How many lengths the numbers of the column have, as one row."""
    keys = [text_of(sql.SQL("pg_catalog.min({})").format(cell(one))) for one in table.key_columns]
    lengths = sql.SQL(
        "pg_catalog.concat(pg_catalog.count(DISTINCT pg_catalog.length({0})))"
    ).format(cell(column))
    text = sql.SQL("SELECT {} FROM {} WHERE {} ~ '^[0-9]+$'").format(
        sql.SQL(", ").join([*keys, lengths]), rows_of(table), cell(column)
    )
    name = f"{END}/{table.name}/{column.name}/widths"
    return Variant(name, END, 0, text.as_string(None), table.name, (column.name,))


def _tells_apart(scene: Scene, change: Change, mangle: Mangle) -> bool:
    match mangle.tells:
        case "always":
            return True
        case "never":
            return False
        case "width":
            name = _widths(change.table, change.column).id
            row = scene.facts.execute("SELECT value FROM sketch WHERE variant = ?", [name])
            return row.fetchone() == ("1",)
        case "data":
            counts = scene.facts.execute(
                """SELECT count(DISTINCT r.predicted), count(DISTINCT s.value)
                FROM spoilt s JOIN residue r ON r."table" = s."table" AND r.key = s.key
                 AND r."column" = s."column" WHERE s.variant = ? AND s.fate = 'hit'""",
                [change.name],
            ).fetchone()
            assert counts is not None
            return bool(counts[0] == counts[1] > 1)


def _apart(scene: Scene, found: Sequence[_Found]) -> Sequence[_Found]:
    """The best of those that could be the same cells' story; of equals, the surer."""
    order = {"evident": 0, "batch": 1, "work": 2}
    ranked = sorted(
        found,
        key=lambda one: (-one.batch.hits, one.batch.kept, order[one.mangle.evidence]),
    )
    chosen: list[_Found] = []
    for one in ranked:
        same = [
            other
            for other in chosen
            if other.batch.change.column == one.batch.change.column
            and overlap(scene, one.batch.change, other.batch.change, same_column=True)
        ]
        if not same:
            chosen.append(one)
    place = {id(one): number for number, one in enumerate(found)}
    return sorted(chosen, key=lambda one: place[id(one)])


def _claimed(scene: Scene, found: Sequence[_Found]) -> Sequence[_Found]:
    """What is sure by itself, what people speak of, and what came back with it."""
    spoken = partial(vouched, scene)
    sure = [one for one in found if one.sure or spoken([one.batch.change])]
    beside = [
        one
        for one in found
        if one not in sure
        and any(overlap(scene, one.batch.change, other.batch.change) > 0.5 for other in sure)
    ]
    return [one for one in found if one in sure or one in beside]


HYPOTHESIS = Hypothesis(FaultClass.MANGLED_VALUES, propose, told, ask, on_purpose=in_one_column)
