"""One history lived through in several worlds: as it was meant, as it was executed.

Nothing here knows the product. Every world starts from a copy of the same database; before each
step the clock and every sequence are put to the same place, so that two worlds differ by what the
statements did and by nothing else. The clock is a function `now()` in a schema in front of
pg_catalog; defaults and functions that say CURRENT_TIMESTAMP or hold now() by its identity are
pointed at it while the history runs, and put back as they were before anything is dumped.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[object, ...]]
Row = tuple[str | None, ...]
State = dict[str, dict[str, Row]]  # table -> key as compact JSON -> the row's texts

CLOCK_SCHEMA = "history_clock"
_CLOCK_WORDS = re.compile(
    r"(?:pg_catalog\.)?\bnow\(\)|\bCURRENT_TIMESTAMP\b|\bLOCALTIMESTAMP\b", re.I
)
_DATE_WORD = re.compile(r"\bCURRENT_DATE\b", re.I)
_SETTINGS = (
    "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC';"
    "SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex';"
    "SET row_security = off; SET client_min_messages = warning; SET synchronous_commit = off"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `executed` is the SQL that ran, `intended` what should have run;
    both '' where nothing runs (prose, an event). `text` is what the log says instead, if it does
    not say the intended one."""

    id: str
    at: datetime
    actor: str
    what: str
    executed: str
    intended: str
    logged: bool
    event: str = ""  # power-loss, crash ...
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class TableShape:
    name: str  # schema.relation
    identifier: sql.Identifier
    columns: tuple[str, ...]
    key: tuple[int, ...]  # positions of the primary key; () when there is none

    def key_text(self, row: Row) -> str:
        return compact({self.columns[at]: row[at] for at in self.key})


@dataclass(slots=True)
class World:
    """What a history left behind: the last state, who wrote which cell, which steps failed.
    A cell is (table, key, column); column '' is the row's existence."""

    state: State
    writers: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DamagedCell:
    table: str
    key: str
    column: str  # '' for a whole row: target is the row as JSON, or None when it must not exist
    target: str | None
    label: str
    writers: tuple[str, ...]  # steps that wrote the cell in the world as executed


def compact(value: Mapping[str, str | None]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def prepare(connection: Connection) -> None:
    """Fixed output settings, as every reading in this module expects them."""
    connection.execute(_SETTINGS)


def shapes(connection: Connection) -> tuple[TableShape, ...]:
    """Every table that holds rows of its own; partitions are part of their root."""
    rows = connection.execute("""
        SELECT n.nspname, c.relname,
               (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT array_agg(a.attname::text ORDER BY k.n)
                FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
                WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
                  AND a.attnum = k.attnum)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
        ORDER BY 1, 2""").fetchall()
    found = []
    for schema, relation, columns, key in rows:
        assert isinstance(schema, str) and isinstance(relation, str) and isinstance(columns, list)
        names = tuple(str(name) for name in columns)
        places = tuple(names.index(str(name)) for name in key) if isinstance(key, list) else ()
        identifier = sql.Identifier(schema, relation)
        found.append(TableShape(f"{schema}.{relation}", identifier, names, places))
    return tuple(found)


def read_table(
    connection: Connection, shape: TableShape, *, just_written: bool = False
) -> dict[str, Row]:
    """The rows by key; rows of a table without a key by their hash and ordinal. `just_written`:
    only those that the transaction in progress wrote (and no savepoint of it)."""
    query = sql.SQL("SELECT * FROM {}").format(shape.identifier)
    if just_written:
        query += sql.SQL(" WHERE xmin = pg_current_xact_id()::xid")
    copy_out = sql.SQL("COPY ({}) TO STDOUT").format(query)
    with connection.cursor() as cursor, cursor.copy(copy_out) as copy:
        rows = [tuple(row) for row in copy.rows()]
    if shape.key:
        return {shape.key_text(row): row for row in rows}
    counted: dict[str, int] = {}
    keyed: dict[str, Row] = {}
    for row in rows:
        text = compact(dict(zip(shape.columns, row, strict=True)))
        digest = hashlib.sha256(text.encode()).hexdigest()
        counted[digest] = counted.get(digest, 0) + 1
        keyed[compact({"#row": digest, "#n": str(counted[digest])})] = row
    return keyed


def read_state(connection: Connection, tables: Iterable[TableShape]) -> State:
    return {shape.name: read_table(connection, shape) for shape in tables}


def live(
    connection: Connection,
    entries: Sequence[Entry],
    text: Callable[[Entry], str],
    *,
    start: State | None = None,
    may_fail: bool = False,
    gap: int = 100,
) -> World:
    """Run `text` of every entry, one transaction each, at the entry's time. `gap` ids of every
    sequence are set aside for each entry. `start` is the state of the database if it is known. A
    failing statement is an error of the history unless `may_fail`."""
    prepare(connection)
    tables = shapes(connection)
    restore = set_clock(connection)
    positions = sequences(connection)
    before = read_state(connection, tables) if start is None else start
    world = World({name: dict(rows) for name, rows in before.items()})
    try:
        for number, entry in enumerate(entries, start=1):
            statement = text(entry)
            if not statement:
                continue
            try:
                with connection.transaction():
                    moment = entry.at.isoformat()
                    connection.execute("SELECT set_config('history.now', %s, true)", (moment,))
                    for name, first in positions:
                        position = (name, first + number * gap)
                        connection.execute("SELECT setval(%s::regclass, %s, false)", position)
                    connection.execute(statement.encode())
                    for shape, removed in _touched(connection, tables):
                        _take_in(world, entry.id, connection, shape, whole=removed)
            except psycopg.Error as error:
                if not may_fail:
                    raise RuntimeError(f"step {entry.id}: {error}\n{statement}") from error
                world.failed[entry.id] = str(error)
        assert may_fail or world.state == read_state(connection, tables), "a write was missed"
    finally:
        restore()
    return world


def damage(
    tables: Iterable[TableShape], intended: World, actual: World, fault: str, target_table: str
) -> tuple[DamagedCell, ...]:
    """Every cell in which the world as executed is not the world as intended."""
    cells: list[DamagedCell] = []
    for shape in tables:
        good, bad = intended.state[shape.name], actual.state[shape.name]
        for key in sorted(good.keys() | bad.keys()):
            for column, value in differences(shape, good.get(key), bad.get(key)):
                cell = (shape.name, key, column)
                writers = tuple(actual.writers.get(cell, ()))
                before = intended.writers.get(cell, ())
                label = _label(fault, writers, before, direct=shape.name == target_table)
                cells.append(DamagedCell(*cell, value, label, writers))
    return tuple(cells)


def _label(fault: str, writers: Sequence[str], meant: Sequence[str], *, direct: bool) -> str:
    if fault not in writers:
        return "collateral"
    if any(step != fault for step in writers[: writers.index(fault)]) and meant:
        return "lost-work"
    return "direct" if direct else "cascade"


def differences(
    shape: TableShape, good: Row | None, bad: Row | None
) -> Iterable[tuple[str, str | None]]:
    """Where a row is not as it should be, and what it should be; '' is the whole row."""
    if good is None or bad is None:
        row = None if good is None else compact(dict(zip(shape.columns, good, strict=True)))
        return (("", row),)
    pairs = zip(shape.columns, good, bad, strict=True)
    return tuple((name, value) for name, value, other in pairs if value != other)


def _take_in(
    world: World, step: str, connection: Connection, shape: TableShape, *, whole: bool
) -> None:
    """Note what the step in progress did to one table; `whole` where rows may have gone. A write
    of the same value leaves no trace."""
    rows = world.state[shape.name]
    if whole or not shape.key:
        found = read_table(connection, shape)
        gone = rows.keys() - found.keys()
    else:
        found, gone = read_table(connection, shape, just_written=True), set[str]()
    for key in gone:
        _note(world, step, shape, key, None)
    for key, row in found.items():
        if rows.get(key) != row:
            _note(world, step, shape, key, row)


def _note(world: World, step: str, shape: TableShape, key: str, new: Row | None) -> None:
    rows = world.state[shape.name]
    old = rows.get(key)
    if old is None or new is None:
        world.writers.setdefault((shape.name, key, ""), []).append(step)
    for at, name in enumerate(shape.columns):
        if old is None or new is None or old[at] != new[at]:
            world.writers.setdefault((shape.name, key, name), []).append(step)
    if new is None:
        del rows[key]
    else:
        rows[key] = new


def _touched(
    connection: Connection, tables: Iterable[TableShape]
) -> tuple[tuple[TableShape, bool], ...]:
    """The tables that the step in progress wrote, and whether rows went from them. (Histories
    do not change keys; `live` compares with the whole at the end.)"""
    rows = connection.execute("""
        SELECT n.nspname || '.' || r.relname, sum(s.n_tup_del) > 0
        FROM pg_stat_xact_user_tables s
        JOIN pg_class r ON r.oid = COALESCE(pg_partition_root(s.relid), s.relid)
        JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0 GROUP BY 1""").fetchall()
    found = {str(name): bool(removed) for name, removed in rows}
    return tuple((shape, found[shape.name]) for shape in tables if shape.name in found)


def sequences(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Every sequence and where it stands."""
    rows = connection.execute("""
        SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename),
               COALESCE(last_value, start_value) FROM pg_sequences ORDER BY 1""").fetchall()
    return tuple((str(name), int(str(first))) for name, first in rows)


def set_clock(connection: Connection) -> Callable[[], None]:
    """Put the history's clock in; what comes back takes it out and leaves no trace. A default whose
    column is gone by then stays gone."""
    connection.execute(
        f"""
        CREATE SCHEMA {CLOCK_SCHEMA};
        CREATE FUNCTION {CLOCK_SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
            AS 'SELECT pg_catalog.current_setting(''history.now'')::pg_catalog.timestamptz';
        SET search_path = public, pg_catalog""".encode()
    )
    undo = [_moved_default(connection, row) for row in _clock_defaults(connection)]
    undo += [_moved_function(connection, text) for text in _clock_functions(connection)]
    connection.execute(f"SET search_path = {CLOCK_SCHEMA}, public, pg_catalog".encode())

    def restore() -> None:
        connection.execute("SET search_path = public, pg_catalog")
        for statement in undo:
            with suppress(psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                connection.execute(statement.encode())
        connection.execute(f"DROP SCHEMA {CLOCK_SCHEMA} CASCADE".encode())

    return restore


def _on_clock(text: str) -> str:
    moved = _CLOCK_WORDS.sub(f"{CLOCK_SCHEMA}.now()", text)
    return _DATE_WORD.sub(f"({CLOCK_SCHEMA}.now()::date)", moved)


def _clock_defaults(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute("""
        SELECT format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT ',
                      d.adrelid::regclass, a.attname), pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE a.attgenerated = ''""").fetchall()
    return [(str(head), str(text)) for head, text in rows if _on_clock(str(text)) != str(text)]


def _moved_default(connection: Connection, default: tuple[str, str]) -> str:
    head, expression = default
    connection.execute((head + _on_clock(expression)).encode())
    return head + expression


def _clock_functions(connection: Connection) -> list[str]:
    rows = connection.execute("""
        SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
        WHERE n.nspname !~ '^(pg_|information_schema|history_clock)'
          AND p.prokind IN ('f', 'p') AND l.lanname IN ('sql', 'plpgsql')""").fetchall()
    return [str(text) for (text,) in rows if _on_clock(str(text)) != str(text)]


def _moved_function(connection: Connection, definition: str) -> str:
    connection.execute(_on_clock(definition).encode())
    return definition
