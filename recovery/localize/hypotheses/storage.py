"""storage: the data were damaged where they lie, not by any statement.

bits    single cells that differ from what they should be in one bit
gone    rows that lay side by side in the table's file are gone
stale   rows that lay side by side are as they were before steps that changed them

Human mistakes follow values and ignore where rows lie; a failing disk does the opposite. A dump
gives rows in the order of the file, so the order of the backup is known (block borders are not).
One bit or a neighbourhood alone proves nothing under a partial log: there must be an event in the
log (power loss, disk failure), a complaint, or a log that holds everything.

Method: description lengths of storage models beside those of statements (the cell and the bit; the
first and the last row of a stretch).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
from psycopg import sql

from diffing.model import Schema, Table, parts
from recovery.deviation import Insert
from recovery.localize.by_key import among
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import END
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.messages import counted
from recovery.model import Act, Event, FaultClass, Variant

ACT = "~storage"
_FLIPS_MAX = 100  # more are no single bits any more
_WORK_MOVES_BY = 10.0  # by less than this, numbers are moved by work all the time
_STRETCH_MIN = 3  # so many rows side by side; fewer lie there by chance
_BITS_A_FLIP = 5.0
_BITS_OF_AN_EVENT = 8.0  # the log tells of an event that damages files
_ORDER = "#order"  # what the look calls a row's place in the file

# One bit: of a whole number as a number, of anything else in its text. Where the log may lack work,
# a number that moved by little is none: that is how work moves them.
_FLIPS = """
WITH odd AS (
    SELECT *, encode(predicted) AS p, encode(current) AS c,
           CASE WHEN regexp_full_match(predicted, '-?[0-9]+')
                THEN try_cast(predicted AS BIGINT) END AS m,
           CASE WHEN regexp_full_match(current, '-?[0-9]+')
                THEN try_cast(current AS BIGINT) END AS n,
           coalesce(abs(try_cast(current AS DOUBLE) - try_cast(predicted AS DOUBLE)) < $least
                    AND NOT list_contains($covered::VARCHAR[], "table"), false) AS work
    FROM residue
    WHERE kind = 'changed' AND predicted IS NOT NULL AND current IS NOT NULL
      AND list_contains($tables::VARCHAR[], "table"))
SELECT "table", key, "column", predicted, current FROM odd
WHERE NOT work AND (
      CASE WHEN octet_length(p) = octet_length(c) AND octet_length(p) > 0
           THEN bit_count(xor(p::BIT, c::BIT)) = 1 ELSE false END
   OR CASE WHEN m IS NOT NULL AND n IS NOT NULL THEN bit_count(xor(m, n)) = 1 ELSE false END)
ORDER BY "table", key, "column" LIMIT $most
"""

# Stretches of rows of the file, none of which is as it should be. Rows that should be gone are no
# gap in a stretch; nor are, among stale rows, those that no step changed, and, among lost ones,
# those that were changed since the backup: they were moved to another place.
_STRETCHES = """
WITH place AS (
    SELECT s.key, CAST(s.value AS BIGINT) AS n FROM sketch s WHERE s.variant = $look),
hit AS (
    SELECT DISTINCT key FROM residue r WHERE r."table" = $table
      AND (r.kind = $kind OR $kind = 'kept' AND r.kind = 'changed' AND r.current = r.backup)),
laid AS (
    SELECT p.key, p.n, h.key IS NOT NULL AS hit,
           row_number() OVER (ORDER BY p.n) AS k FROM place p
    LEFT JOIN hit h ON h.key = p.key
    LEFT JOIN finals f ON f."table" = $table AND f.key = p.key AND f."column" = ''
    WHERE coalesce(f.there, true) AND (h.key IS NOT NULL OR CASE WHEN $kind = 'missing'
        THEN p.key NOT IN (
            SELECT key FROM divergence WHERE "table" = $table AND kind = 'changed')
        ELSE p.key IN (SELECT key FROM finals WHERE "table" = $table AND "column" <> ''
            AND value IS DISTINCT FROM start) END)),
grouped AS (SELECT *, k - row_number() OVER (PARTITION BY hit ORDER BY k) AS stretch FROM laid)
SELECT list(key ORDER BY n), min(n), max(n), (SELECT count(*) FROM place)
FROM grouped WHERE hit GROUP BY stretch HAVING count(*) >= $least ORDER BY count(*) DESC LIMIT 3
"""
_STALE = """
SELECT key, "column", current FROM residue
WHERE "table" = $table AND "column" <> '' AND list_contains($keys::VARCHAR[], key)
ORDER BY key, "column"
"""


def ask(scene: Scene) -> Iterator[Variant]:
    for table in _tables(scene):
        yield _order(scene, table)


def propose(scene: Scene) -> Iterator[Candidate]:
    if ACT in scene.taken or not scene.history:
        return
    tables = _tables(scene)
    names: dict[str, object] = {
        "tables": [table.name for table in tables],
        "covered": [table.name for table in tables if scene.log.covers(table.name)],
        "least": _WORK_MOVES_BY,
        "most": _FLIPS_MAX + 1,
    }
    flips = scene.facts.execute(_FLIPS, names).fetchall()
    if 0 < len(flips) <= _FLIPS_MAX:
        yield _flipped(scene, [_Cell(*map(str, flip)) for flip in flips])
    for table in tables:
        yield from _gone(scene, table)
        yield from _stale(scene, table)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    told = all(_event(scene, target.table) for target in candidate.targets)
    return witness.covered or witness.vouched or told


def told(candidate: Candidate, score: Score) -> str:
    said = dict(candidate.parameters)
    match said["model"]:
        case "bits":
            return counted(
                "{n} cell differs in a single bit from what it should be",
                "{n} cells differ in a single bit each from what they should be",
                score.hits,
            )
        case "gone":
            return counted(
                "{n} row is gone that lay in the file of {table} among rows that are there",
                "{n} rows are gone that lay side by side in the file of {table}",
                score.hit_rows,
                table=said["table"],
            )
        case _:
            return counted(
                "{n} row of {table} is as it was before steps that changed it",
                "{n} rows that lie side by side in the file of {table} are as they were before"
                " steps that changed them",
                score.hit_rows,
                table=said["table"],
            )


def settle(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    """No statement wrote it: whatever it overwrote, the file did."""
    facts.execute(
        "UPDATE damage SET label = 'storage' WHERE fault = ? AND label <> 'collateral'", [fault]
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    table: str
    key: str
    column: str
    predicted: str
    current: str


def _tables(scene: Scene) -> list[Table]:
    """Tables with something left over where the log tells of an event, holds everything, or the
    customer complains."""
    rows = scene.facts.execute(
        """SELECT DISTINCT r."table", r."table" IN (
            SELECT "table" FROM complaint WHERE NOT fine AND NOT answered)
        FROM residue r WHERE r.kind <> 'extra' ORDER BY ALL"""
    ).fetchall()
    return [
        table
        for name, complained in rows
        if (table := scene.schema.table(str(name))).key.columns
        and (complained or scene.log.covers(table.name) or _event(scene, table.name))
    ]


def _event(scene: Scene, table: str) -> bool:
    """Does the log tell of an event that may have damaged the table's file?"""
    return any(
        isinstance(step.action, Event)
        and step.action.kind != "other"
        and (not step.action.tables or table in step.action.tables)
        for step in scene.log.steps
    )


def _order(scene: Scene, table: Table) -> Variant:
    """The rows of the backup in the order of the file."""
    keys = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(column)
        )
        for column in table.key.columns
    )
    text = sql.SQL(
        "SELECT {}, (pg_catalog.row_number() OVER (ORDER BY tableoid, ctid))::text FROM {}"
    ).format(keys, sql.Identifier(table.schema, table.relation))
    act = next((act.id for act in scene.history if act.statements), END)
    name = f"{act}/0/order {table.name}"
    return Variant(name, act, 0, text.as_string(None), table.name, (_ORDER,))


def _flipped(scene: Scene, cells: Sequence[_Cell]) -> Candidate:
    columns: dict[str, set[str]] = {}
    for cell in cells:
        columns.setdefault(cell.table, set()).add(cell.column)
    told = all(_event(scene, table) for table in columns)
    return _candidate(
        scene,
        (("model", "bits"), ("cells", str(len(cells)))),
        tuple(_assign(scene.schema.table(cell.table), cell) for cell in cells),
        tuple(Target("update", table, frozenset(names)) for table, names in columns.items()),
        _BITS_A_FLIP * len(cells) - _BITS_OF_AN_EVENT * told,
        frozenset(cell.column for cell in cells),
    )


def _assign(table: Table, cell: _Cell) -> str:
    """The statement that does what the bit did: of numbers by a difference, so that it can be seen
    that it tells values apart."""
    column = table.column(cell.column)
    name = sql.Identifier(cell.column)
    value: sql.Composable = sql.SQL("{}::{}").format(
        sql.Literal(cell.current), sql.SQL(column.type)
    )
    if column.family == "numeric" or column.type in ("smallint", "integer", "bigint"):
        value = sql.SQL("({0}::numeric + ({1}::numeric - {2}::numeric))::{3}").format(
            name, sql.Literal(cell.current), sql.Literal(cell.predicted), sql.SQL(column.type)
        )
    return _set(table, ((name, value),), cell.key)


def _gone(scene: Scene, table: Table) -> Iterator[Candidate]:
    for stretch in _stretches(scene, table, "missing"):
        text = sql.SQL("DELETE FROM {} WHERE {}").format(
            sql.Identifier(table.schema, table.relation), among(table, stretch.keys)
        )
        yield _candidate(
            scene,
            (("model", "gone"), *stretch.parameters(table)),
            (text.as_string(None),),
            (Target("delete", table.name, frozenset()),),
            stretch.bits - _BITS_OF_AN_EVENT * _event(scene, table.name),
            frozenset(),
        )


def _stale(scene: Scene, table: Table) -> Iterator[Candidate]:
    for stretch in _stretches(scene, table, "kept"):
        names = {"table": table.name, "keys": list(stretch.keys)}
        cells = scene.facts.execute(_STALE, names).fetchall()
        statements = []
        for key, column, current in cells:
            kind = sql.SQL(table.column(str(column)).type)
            value = sql.SQL("{}::{}").format(sql.Literal(current), kind)
            statements.append(_set(table, ((sql.Identifier(str(column)), value),), str(key)))
        columns = frozenset(str(column) for _, column, _ in cells)
        yield _candidate(
            scene,
            (("model", "stale"), *stretch.parameters(table)),
            tuple(statements),
            (Target("update", table.name, columns),),
            stretch.bits
            + math.log2(max(len(scene.history), 2))
            - _BITS_OF_AN_EVENT * _event(scene, table.name),
            columns,
        )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows that lie side by side, from the `first` to the `last` of `size` in the file."""

    keys: tuple[str, ...]
    first: int
    last: int
    size: int

    @property
    def bits(self) -> float:
        return 2 * math.log2(max(self.size, 2)) + 16.0

    def parameters(self, table: Table) -> tuple[tuple[str, str], ...]:
        return (("table", table.name), ("first", str(self.first)), ("last", str(self.last)))


def _stretches(scene: Scene, table: Table, kind: Literal["missing", "kept"]) -> Iterator[_Stretch]:
    look = _order(scene, table).id
    names = {"look": look, "table": table.name, "kind": kind, "least": _STRETCH_MIN}
    for keys, first, last, size in scene.facts.execute(_STRETCHES, names).fetchall():
        yield _Stretch(tuple(keys), int(first), int(last), int(size))


def _set(table: Table, values: Sequence[tuple[sql.Identifier, sql.Composable]], key: str) -> str:
    return (
        sql.SQL("UPDATE {} SET {} WHERE {}")
        .format(
            sql.Identifier(table.schema, table.relation),
            sql.SQL(", ").join(sql.SQL("{} = {}").format(*pair) for pair in values),
            among(table, [key]),
        )
        .as_string(None)
    )


def _candidate(
    scene: Scene,
    parameters: tuple[tuple[str, str], ...],
    statements: tuple[str, ...],
    targets: tuple[Target, ...],
    bits: float,
    injective: frozenset[str],
) -> Candidate:
    """What the file suffered, as if statements had done it behind all acts. No trigger fires for
    a disk, and no foreign key holds a row that is on it."""
    last = scene.history[-1]
    fired = {trigger.table for trigger in scene.schema.triggers}
    loud = [scene.schema.table(one.table) for one in targets if one.table in fired]
    off, on = (
        tuple(
            sql.SQL("ALTER TABLE {} {} TRIGGER USER")
            .format(sql.Identifier(table.schema, table.relation), sql.SQL(way))
            .as_string(None)
            for table in loud
        )
        for way in ("DISABLE", "ENABLE")
    )
    lost = {one.table for one in targets if one.op == "delete"}
    free = tuple(
        sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        .format(sql.Identifier(*parts(key.table)), sql.Identifier(key.name))
        .as_string(None)
        for key in scene.schema.foreign_keys
        if key.parent in lost
    )
    return Candidate(
        FaultClass.STORAGE,
        "",
        ACT,
        parameters,
        "",
        (Insert(last.id, Act(ACT, (*free, *off, *statements, *on), last.at)),),
        (),
        bits,
        targets,
        injective,
        # One bit more is what work adds to a number as well; a row may have been changed again.
        certain=scene.covered(targets),
    )


HYPOTHESIS = Hypothesis(FaultClass.STORAGE, propose, told, ask, admits, settle=settle)
