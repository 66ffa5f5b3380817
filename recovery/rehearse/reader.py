"""The rehearsal's own eyes: it reads databases whole and compares rows by their bytes.

Nothing here comes from planning, comparing or rendering, so that an error there cannot hide here.
Memory: a fixed number of rows at a time, whatever the size of a table.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

Connection = psycopg.Connection[tuple[object, ...]]
_ROWS_AT_A_TIME = 200_000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that holds rows. Partitions are read through their root."""

    schema: str
    name: str
    root: str  # qualified name of the table it belongs to, as the plan writes names
    columns: tuple[str, ...]
    generated: frozenset[str]
    numeric: frozenset[str]


@dataclass(frozen=True, slots=True)
class Digest:
    """All rows of a table as a multiset: how many, and the sum of their 256-bit hashes."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole database: tables by root name, sequences by name, in order."""

    tables: tuple[tuple[str, Digest], ...]
    sequences: tuple[tuple[str, int], ...]
    triggers: tuple[tuple[str, str], ...]  # table.trigger and its mode

    def differing(self, other: "Picture") -> tuple[str, ...]:
        """Tables whose rows are not the same."""
        mine, theirs = dict(self.tables), dict(other.tables)
        names = sorted(mine.keys() | theirs.keys())
        return tuple(name for name in names if mine.get(name) != theirs.get(name))


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of one table that are on one side only: values by column, NULL as None."""

    table: str
    gone: tuple[dict[str, str | None], ...]
    came: tuple[dict[str, str | None], ...]


def relations(connection: Connection) -> tuple[Relation, ...]:
    """Every table of users that holds rows, in order of names."""
    found = connection.execute(
        """
        SELECT s.nspname::text, c.relname::text,
               CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid
                    ELSE c.oid END,
               pg_catalog.array_agg(a.attname::text ORDER BY a.attname),
               coalesce(pg_catalog.array_agg(a.attname::text)
                        FILTER (WHERE a.attgenerated <> ''), '{}'),
               coalesce(pg_catalog.array_agg(a.attname::text)
                        FILTER (WHERE a.atttypid = 'pg_catalog.numeric'::regtype), '{}')
          FROM pg_catalog.pg_class AS c
          JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped
         WHERE c.relkind IN ('r', 'p') AND NOT pg_catalog.starts_with(s.nspname::text, 'pg_')
           AND s.nspname <> 'information_schema'
         GROUP BY 1, 2, 3, c.oid ORDER BY 1, 2
        """
    ).fetchall()
    names = _names(connection)
    return tuple(
        Relation(str(schema), str(name), names[str(root)], _texts(columns),
                 frozenset(_texts(generated)), frozenset(_texts(numeric)))
        for schema, name, root, columns, generated, numeric in found
    )  # fmt: skip


def picture(connection: Connection) -> Picture:
    """The whole database as digests: equal pictures, equal bytes."""
    tables: dict[str, Digest] = {}
    for relation in relations(connection):
        before = tables.get(relation.root, Digest(0, 0))
        rows = total = 0
        for row in _rows(connection, relation):
            rows += 1
            total += int.from_bytes(hashlib.sha256(row).digest())
        tables[relation.root] = Digest(before.rows + rows, before.total + total)
    return Picture(tuple(sorted(tables.items())), _sequences(connection), _triggers(connection))


def changes(before: Connection, after: Connection, table: str) -> Iterator[Change]:
    """The rows of one table that are not on both sides, some at a time (parts by hash)."""
    old = [relation for relation in relations(before) if relation.root == table]
    new = [relation for relation in relations(after) if relation.root == table]
    rows = sum(1 for relation in old for _ in _rows(before, relation))
    parts = 1 + rows // _ROWS_AT_A_TIME
    for part in range(parts):
        left: Counter[bytes] = Counter()
        for relation in old:
            left.update(row for row in _rows(before, relation) if _part(row, parts) == part)
        for relation in new:
            left.subtract(row for row in _rows(after, relation) if _part(row, parts) == part)
        columns = (old or new)[0].columns
        yield Change(
            table,
            tuple(_values(row, columns) for row, n in left.items() for _ in range(n)),
            tuple(_values(row, columns) for row, n in left.items() for _ in range(-n)),
        )


def orphans(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Per foreign key, the rows that have no parent: what nobody may make worse."""
    keys = connection.execute(
        """
        SELECT k.conname::text, k.conrelid::regclass::text, k.confrelid::regclass::text,
               pg_catalog.array_agg(pg_catalog.quote_ident(c.attname::text) ORDER BY u.at),
               pg_catalog.array_agg(pg_catalog.quote_ident(p.attname::text) ORDER BY u.at)
          FROM pg_catalog.pg_constraint AS k,
               LATERAL unnest(k.conkey, k.confkey)
                       WITH ORDINALITY AS u(child, parent, at)
          JOIN pg_catalog.pg_attribute AS c ON true
          JOIN pg_catalog.pg_attribute AS p ON true
         WHERE k.contype = 'f' AND k.conparentid = 0
           AND c.attrelid = k.conrelid AND c.attnum = u.child
           AND p.attrelid = k.confrelid AND p.attnum = u.parent
         GROUP BY k.oid, 1, 2, 3 ORDER BY 2, 1
        """
    ).fetchall()
    return tuple(
        (
            f"{child}.{name}",
            _orphans(connection, str(child), str(parent), _texts(here), _texts(there)),
        )
        for name, child, parent, here, there in keys
    )


def _orphans(
    connection: Connection, child: str, parent: str, here: tuple[str, ...], there: tuple[str, ...]
) -> int:
    # Names were quoted by the server itself (regclass, quote_ident).
    pairs = list(zip(here, there, strict=True))
    filled = " AND ".join("c." + own + " IS NOT NULL" for own, _ in pairs)
    linked = " AND ".join("c." + own + " = p." + other for own, other in pairs)
    query = sql.SQL(
        "SELECT count(*) FROM {} AS c WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {})"
    )
    row = connection.execute(
        query.format(sql.SQL(child), sql.SQL(filled), sql.SQL(parent), sql.SQL(linked))
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _part(row: bytes, parts: int) -> int:
    return 0 if parts == 1 else int.from_bytes(hashlib.sha256(row).digest()[:8]) % parts


def _rows(connection: Connection, relation: Relation) -> Iterator[bytes]:
    query = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, relation.columns)),
        sql.Identifier(relation.schema, relation.name),
    )
    # libpq itself: the driver's own loop costs five times as much a row, and this reads all rows.
    wire = connection.pgconn
    result = wire.exec_(query.as_bytes(connection))
    while result.status == ExecStatus.COPY_OUT:
        size, row = wire.get_copy_data(0)
        while size > 0:
            yield bytes(row)
            size, row = wire.get_copy_data(0)
        result = _end_of_copy(connection)
    if result.status != ExecStatus.COMMAND_OK:
        raise psycopg.OperationalError(result.get_error_message())


def _end_of_copy(connection: Connection) -> "psycopg.pq.abc.PGresult":
    last = None
    while (result := connection.pgconn.get_result()) is not None:
        last = result
    if last is None:
        raise psycopg.OperationalError("the connection was lost while reading")
    return last


def _values(row: bytes, columns: tuple[str, ...]) -> dict[str, str | None]:
    fields = row.decode().removesuffix("\n").split("\t")
    return dict(zip(columns, map(_value, fields), strict=True))


def _value(field: str) -> str | None:
    if field == "\\N":
        return None
    if "\\" not in field:
        return field
    text, rest = [], iter(field)
    for character in rest:
        text.append(_escaped(next(rest)) if character == "\\" else character)
    return "".join(text)


def _escaped(character: str) -> str:
    return _ESCAPES.get(character, character)


def _names(connection: Connection) -> dict[str, str]:
    """By oid: schema.table, a part that holds a dot or a quote being quoted."""
    found = connection.execute(
        "SELECT c.oid, s.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c "
        "JOIN pg_catalog.pg_namespace AS s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
    ).fetchall()
    return {
        str(oid): ".".join(
            '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part
            for part in (str(schema), str(name))
        )
        for oid, schema, name in found
    }


def _sequences(connection: Connection) -> tuple[tuple[str, int], ...]:
    names = connection.execute(
        "SELECT c.oid::regclass::text, q.seqincrement FROM pg_catalog.pg_class AS c "
        "JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = c.oid ORDER BY 1"
    ).fetchall()
    positions = []
    for name, increment in names:
        row = connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(str(name)))
        ).fetchone()
        assert row is not None
        step = int(str(increment))
        next_value = int(str(row[0])) + (step if row[1] else 0)
        # Positions grow with time, whichever way the sequence runs.
        positions.append((str(name), next_value if step > 0 else -next_value))
    return tuple(positions)


def _triggers(connection: Connection) -> tuple[tuple[str, str], ...]:
    found = connection.execute(
        "SELECT tgrelid::regclass::text || '.' || tgname::text, tgenabled::text "
        "FROM pg_catalog.pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    ).fetchall()
    return tuple((str(name), str(mode)) for name, mode in found)


def _texts(names: object) -> tuple[str, ...]:
    assert isinstance(names, list)
    return tuple(str(name) for name in names)
