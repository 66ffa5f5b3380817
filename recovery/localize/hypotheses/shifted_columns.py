"""shifted-columns: values stand in the wrong columns, as after an import with a column too many or
too few, or with two columns exchanged.

was: street 'Main St 5'   city 'Perm'    zip '614000'   note NULL
is:  street 'Perm'        city '614000'  zip NULL       note NULL

Somebody may have put columns right that were wrong before, and that looks just the same. It is
claimed when what stands in a column now is not of the kind that other rows have there, and what
stood there before was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from diffing.model import Column, Table
from recovery.localize.batches import candidates, vouched
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.looks import END
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.spoilt import begin
from recovery.localize.transforms import (
    ROWS_MIN,
    WORK_MIN,
    Batch,
    Change,
    cell,
    described,
    rows_of,
    text_of,
    typed,
    unsteady,
    without_later,
)
from recovery.messages import message
from recovery.model import FaultClass, Variant

_SHARE = 0.6  # of the changed cells of a column that one other column must account for
_ALIEN, _HOME = 0.8, 0.5  # shares of kinds of values that were never there, and that were
_OUTSIDE_MIN = 5  # rows beside the batch that show which kinds of values a column has

# At first sight: does a column hold now what another one of the row held?
_HINT = """
SELECT a."table" FROM residue a
JOIN residue b ON b."table" = a."table" AND b.key = a.key AND b."column" <> a."column"
WHERE a.kind = 'changed' AND b.kind = 'changed' AND a.current = b.predicted AND a.current <> ''
GROUP BY a."table", a."column", b."column" HAVING count(*) >= $least
"""
# Rows with two changed cells or more, before and now, and all others before.
_STOOD = """
CREATE OR REPLACE TEMP TABLE stood AS
SELECT s.key, s."column", s.value AS before,
       CASE WHEN r.key IS NOT NULL THEN r.current ELSE s.value END AS now,
       r.key IS NOT NULL AS changed, count(r.key) OVER (PARTITION BY s.key) > 1 AS many
FROM sketch s
LEFT JOIN residue r ON r."table" = s."table" AND r.key = s.key AND r."column" = s."column"
     AND r.kind = 'changed'
ANTI JOIN (FROM residue WHERE "table" = $table AND "column" = '') gone ON gone.key = s.key
WHERE s.variant = $variant
"""
_SOURCES = """
WITH moved AS (
    SELECT a."column" AS target, b."column" AS source, count(*) AS n FROM stood a
    JOIN stood b ON b.key = a.key AND b."column" <> a."column" AND b.before = a.now
    WHERE a.many AND a.changed AND a.now <> '' GROUP BY ALL),
sums AS (
    SELECT "column" AS target, count(*) FILTER (now <> '') AS filled,
           count(*) FILTER (now IS NULL) AS nothing, count(*) FILTER (now = '') AS blank
    FROM stood WHERE many AND changed GROUP BY ALL)
SELECT s.target, arg_max(m.source, m.n), coalesce(max(m.n), 0), s.filled, s.nothing, s.blank
FROM sums s LEFT JOIN moved m USING (target) GROUP BY ALL ORDER BY ALL
"""
# Rows where every column of the move holds what it should hold now, and something was moved; and
# rows where nothing is changed though it would have been.
_FITS = """
INSERT INTO spoilt
WITH move AS (SELECT unnest($targets::VARCHAR[]) AS target, unnest($sources::VARCHAR[]) AS source),
cells AS (
    SELECT a.key, m.target, a.before, a.now,
           CASE m.source WHEN '' THEN NULL WHEN ' ' THEN '' ELSE b.before END AS should
    FROM move m JOIN stood a ON a."column" = m.target
    LEFT JOIN stood b ON b.key = a.key AND b."column" = m.source),
rows AS (
    SELECT key, bool_or(should IS DISTINCT FROM before) AS moves,
           bool_and(now IS NOT DISTINCT FROM should) AS fits,
           bool_and(now IS NOT DISTINCT FROM before) AS same
    FROM cells GROUP BY key)
SELECT $variant, $table, c.key, c.target, c.should, c.now, CASE WHEN r.fits THEN 'hit'
       WHEN r.same THEN 'kept' ELSE 'edited' END
FROM cells c JOIN rows r USING (key) WHERE r.moves
"""
# Of a column's new values in the batch: how many are of a kind that the column never has in other
# rows; how many of its old ones are; how many were lost. `others`: the rows that were looked at.
_KINDS = """
WITH kinds AS (
    SELECT s.key, s."column", s.before, s.now, kind(s.before) AS old, kind(s.now) AS new,
           b.key IS NOT NULL AS hit
    FROM stood s LEFT JOIN (SELECT DISTINCT key FROM spoilt WHERE variant = $variant
        AND fate = 'hit') b ON b.key = s.key
    WHERE s."column" = $column),
home AS (SELECT DISTINCT old FROM kinds WHERE before <> '' AND (NOT hit OR $whole))
SELECT coalesce(avg((new NOT IN (SELECT old FROM home))::INTEGER) FILTER (now <> ''), 0),
       coalesce(avg((old IN (SELECT old FROM home))::INTEGER) FILTER (before <> ''), 0),
       count(DISTINCT before) FILTER (before <> '')
FROM kinds WHERE hit
"""
_KIND = """
CREATE OR REPLACE TEMP MACRO kind(x) AS left(regexp_replace(regexp_replace(
    x, '[0-9]+', '9', 'g'), '[[:alpha:]\u0400-\u04ff]+', 'a', 'g'), 20)
"""
NOTHING, BLANK = "", " "  # what is no column to take a value from


@dataclass(frozen=True, slots=True)
class Move:
    """Which column's value stands in each column now: from a name, NOTHING or BLANK."""

    source: Mapping[str, str]

    def __str__(self) -> str:
        shown = {NOTHING: "∅", BLANK: "''"}
        return ", ".join(f"{a} ← {shown.get(b, b)}" for a, b in self.source.items())

    @property
    def still_there(self) -> frozenset[str]:
        """Columns whose former value stands in another one."""
        return frozenset(self.source.values()) & frozenset(self.source)


def ask(scene: Scene) -> Iterator[Variant]:
    for table in _hinted(scene):
        columns = tuple(one for one in table.columns if one.name not in table.key.columns)
        text = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(text_of(cell(one)) for one in (*table.key_columns, *columns)),
            rows_of(table),
        )
        names = tuple(one.name for one in columns)
        yield Variant(_name(table), END, 0, text.as_string(None), table.name, names)


def propose(scene: Scene) -> Iterator[Candidate]:
    scene.facts.execute(_KIND)
    for table in _hinted(scene):
        names = {"variant": _name(table), "table": table.name}
        scene.facts.execute(_STOOD, names)
        move = connected(_sources(scene, table))
        if move is None:
            continue
        found = _batch(scene, table, move)
        if found is None:
            continue
        if vouched(scene, [found.change]) or _out_of_place(scene, found, move):
            parameters = (("table", table.name), ("moved", str(move)), ("rows", found.rows))
            yield from candidates(
                scene, FaultClass.SHIFTED_COLUMNS, [found], parameters, move.still_there
            )


def told(candidate: Candidate, score: Score) -> str:
    parameters = dict(candidate.parameters)
    return message(
        "In {rows} rows of {table} columns hold what others held before ({moved})",
        rows=score.hit_rows,
        table=parameters["table"],
        moved=parameters["moved"],
    )


def connected(source: Mapping[str, str]) -> Move | None:
    """The longest move in which columns pass their values on: with a column that gave its value
    and got another one. None when there is none."""
    best: dict[str, str] = {}
    for start in sorted(set(source) & set(source.values())):
        part = {start}
        while True:
            more = {a for a, b in source.items() if b in part or a in part}
            more |= {source[a] for a in part if source.get(a, BLANK).strip()}
            if more <= part:
                break
            part |= more
        chain = {a: b for a, b in source.items() if a in part}
        if len(chain) > len(best):
            best = chain
    return Move(best) if len(best) > 1 else None


def _hinted(scene: Scene) -> Sequence[Table]:
    names = {str(row[0]) for row in scene.facts.execute(_HINT, {"least": ROWS_MIN}).fetchall()}
    return [table for table in scene.schema.tables if table.name in names and table.key.columns]


def _name(table: Table) -> str:
    return f"{END}/{table.name}/ columns"


def _sources(scene: Scene, table: Table) -> Mapping[str, str]:
    """Where the new values of columns come from, as far as it is one place."""
    found: dict[str, str] = {}
    for target, source, count, filled, nothing, blank in scene.facts.execute(_SOURCES).fetchall():
        if table.column(str(target)).generated:
            continue
        if count >= max(ROWS_MIN, _SHARE * filled):
            found[str(target)] = str(source)
        elif nothing >= max(ROWS_MIN, _SHARE * (filled + nothing + blank)):
            found[str(target)] = NOTHING
        elif blank >= max(ROWS_MIN, _SHARE * (filled + nothing + blank)):
            found[str(target)] = BLANK
    order = {column.name: place for place, column in enumerate(table.columns)}
    return dict(sorted(found.items(), key=lambda one: order[one[0]]))


def _batch(scene: Scene, table: Table, move: Move) -> Batch | None:
    variant = _name(table)
    begin(scene, variant)
    targets, sources = list(move.source), list(move.source.values())
    scene.facts.execute(
        _FITS,
        {"variant": variant, "table": table.name, "targets": targets, "sources": sources},
    )
    row = scene.facts.execute(
        """SELECT count(DISTINCT key) FILTER (fate = 'hit'),
               count(DISTINCT key) FILTER (fate = 'kept'),
               count(DISTINCT key) FILTER (fate = 'edited')
        FROM spoilt WHERE variant = ?""",
        [variant],
    ).fetchone()
    assert row is not None
    hits, kept, edited = (int(number) for number in row)
    if hits < ROWS_MIN or edited > hits:
        return None
    columns = [table.column(name) for name in targets]
    values = [
        (column, _value(table, column, source))
        for column, source in zip(columns, sources, strict=True)
    ]
    (first, value), also = values[0], tuple(values[1:])
    change = Change(
        table, first, str(move), value, unsteady(scene, table) | set(targets), also, variant
    )
    found = described(scene, change, hits, kept, edited)
    found = replace(found, bits=found.bits + 3 * len(targets))
    # Rows that fit only in part were worked on: nobody knows before or after. They are kept.
    return without_later(scene, found, lambda _: False) if edited else found


def _value(table: Table, column: Column, source: str) -> sql.Composable:
    if source in (NOTHING, BLANK):
        return typed(column, sql.Literal(None if source == NOTHING else ""))
    other = table.column(source)
    if other.type == column.type:
        return cell(other)
    return typed(column, sql.SQL("{}::text").format(cell(other)))


def _out_of_place(scene: Scene, found: Batch, move: Move) -> bool:
    """New values are of another kind than the column's. Other rows show which those are; without
    others, its own former values do, when they are lost: nobody puts right by losing values."""
    if found.hits < WORK_MIN:
        return False
    whole = found.kept < _OUTSIDE_MIN
    for target, source in move.source.items():
        if source in (NOTHING, BLANK):
            continue
        row = scene.facts.execute(
            _KINDS, {"variant": found.change.name, "column": target, "whole": whole}
        ).fetchone()
        assert row is not None
        alien, home, former = float(row[0]), float(row[1]), int(row[2])
        lost = target not in move.still_there and former >= ROWS_MIN
        if alien >= _ALIEN and home >= _HOME and (lost or not whole):
            return True
    return False


HYPOTHESIS = Hypothesis(FaultClass.SHIFTED_COLUMNS, propose, told, ask)
