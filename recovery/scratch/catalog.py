"""What a scratch database holds, as the words of a comparison: read from its own catalogs.

Left out: the system's schemas, the shims we made, and objects that belong to extensions.
Everything is sorted by name, and every text is printed with schema-qualified names.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Literal, LiteralString, cast

from psycopg import sql

from diffing.model import (
    Action,
    Column,
    Constraint,
    ForeignKey,
    Key,
    Schema,
    Sequence_,
    Table,
    Trigger,
    qualified,
)
from recovery.scratch import queries
from recovery.scratch.cluster import Connection
from recovery.scratch.objects import read_objects
from recovery.scratch.types import TypeCatalog

Event = Literal["insert", "update", "delete", "truncate"]
ConstraintKind = Literal["primary", "unique", "check", "foreign", "exclusion"]
Row = tuple[object, ...]

ACTIONS: Final[dict[str, Action]] = {
    "a": "no action",
    "r": "restrict",
    "c": "cascade",
    "n": "set null",
    "d": "set default",
}
EVENTS: Final[tuple[tuple[int, Event], ...]] = (
    (4, "insert"),
    (8, "delete"),
    (16, "update"),
    (32, "truncate"),
)
KINDS: Final[dict[str, ConstraintKind]] = {
    "p": "primary",
    "u": "unique",
    "c": "check",
    "f": "foreign",
    "x": "exclusion",
}


def read_schema(connection: Connection) -> Schema:
    """The whole schema of the database, at one moment.

    A foreign key of a partition is told of its root; triggers, constraints and indexes of a
    partition that its root does not have are told under the partition's own name."""
    with _names_qualified(connection):
        return Schema(
            tables=_tables(connection),
            foreign_keys=_foreign_keys(connection),
            constraints=_constraints(connection),
            triggers=_triggers(connection),
            sequences=_sequences(connection),
            objects=read_objects(connection),
        )


@contextmanager
def _names_qualified(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        before = connection.execute("SELECT current_setting('search_path')").fetchone()
        assert before is not None
        # Named last, pg_temp cannot hide a catalog; pg_catalog alone leaves nothing unqualified.
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        yield
        connection.execute("SELECT set_config('search_path', %s, true)", before)


def _tables(connection: Connection) -> tuple[Table, ...]:
    types = TypeCatalog(connection)
    columns: defaultdict[object, list[Column]] = defaultdict(list)
    for row in _rows(connection, queries.COLUMNS):
        oid, name, kind, type_oid, deterministic, not_null, generated, identity, default = row
        family = types.family(cast(int, type_oid), deterministic=bool(deterministic))
        element = types.element(cast(int, type_oid), deterministic=bool(deterministic))
        columns[oid].append(
            Column(
                name=str(name),
                type=str(kind),
                family=family,
                not_null=bool(not_null),
                generated=bool(generated),
                identity="always" if identity == "a" else "by default" if identity == "d" else "",
                default=str(default),
                element=element,
                fields=types.fields(cast(int, type_oid)),
            )
        )
    keys: dict[object, Key] = {}
    for oid, primary, names in _rows(connection, queries.KEYS):  # best first
        keys.setdefault(oid, Key(_texts(names), "primary" if primary else "unique"))
    partitions: defaultdict[object, list[str]] = defaultdict(list)
    for root, schema, relation in _rows(connection, queries.PARTITIONS):
        partitions[root].append(qualified(str(schema), str(relation)))
    parents: defaultdict[object, list[str]] = defaultdict(list)
    for child, schema, relation in _rows(connection, queries.PARENTS):
        parents[child].append(qualified(str(schema), str(relation)))
    return tuple(
        Table(
            schema=str(schema),
            relation=str(relation),
            columns=tuple(columns[oid]),
            key=keys.get(oid, Key((), "none")),
            partitioned=bool(partitioned),
            partitions=tuple(sorted(partitions[oid])),
            inherits=tuple(parents[oid]),
        )
        for oid, schema, relation, partitioned in _rows(connection, queries.TABLES)
    )


def _foreign_keys(connection: Connection) -> tuple[ForeignKey, ...]:
    found: dict[ForeignKey, ForeignKey] = {}
    for row in _rows(connection, queries.FOREIGN_KEYS):
        name, schema, table, columns, parent_schema, parent, parent_columns, *rest = row
        on_delete, on_update, deferrable, of_partition = rest
        key = ForeignKey(
            name=str(name),
            table=qualified(str(schema), str(table)),
            columns=_texts(columns),
            parent=qualified(str(parent_schema), str(parent)),
            parent_columns=_texts(parent_columns),
            on_delete=ACTIONS[str(on_delete)],
            on_update=ACTIONS[str(on_update)],
            deferrable=bool(deferrable),
        )
        # Partitions that each declare the same key under names of their own declare the root's.
        found.setdefault(replace(key, name="") if of_partition else key, key)
    return tuple(sorted(found.values(), key=lambda key: (key.table, key.name)))


def _constraints(connection: Connection) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(
            name=str(name),
            table=qualified(str(schema), str(table)),
            kind=KINDS[str(kind)],
            columns=_texts(columns),
            definition=str(definition),
        )
        for name, schema, table, kind, columns, definition in _rows(connection, queries.CONSTRAINTS)
    )


def _triggers(connection: Connection) -> tuple[Trigger, ...]:
    return tuple(
        Trigger(
            name=str(name),
            table=qualified(str(schema), str(table)),
            function=qualified(str(function_schema), str(function)),
            definition=str(definition),
            events=frozenset(event for bit, event in EVENTS if cast(int, bits) & bit),
            enabled=enabled in ("O", "A"),
        )
        for name, schema, table, function_schema, function, definition, bits, enabled in _rows(
            connection, queries.TRIGGERS
        )
    )


def _sequences(connection: Connection) -> tuple[Sequence_, ...]:
    found = _rows(connection, queries.SEQUENCES)
    values: dict[str, tuple[int, bool]] = {}
    for start in range(0, len(found), 200):
        wanted = [(str(row[0]), str(row[1])) for row in found[start : start + 200]]
        question = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, last_value, is_called FROM {}").format(
                sql.Literal(qualified(schema, name)), sql.Identifier(schema, name)
            )
            for schema, name in wanted
        )
        for name, last_value, is_called in connection.execute(question).fetchall():
            values[str(name)] = (cast(int, last_value), bool(is_called))
    sequences = []
    for schema, relation, increment, table_schema, table, column in found:
        name = qualified(str(schema), str(relation))
        last_value, is_called = values[name]
        owner = (qualified(str(table_schema), str(table)), str(column)) if table else ()
        sequences.append(Sequence_(name, last_value, is_called, cast(int, increment), owner))
    return tuple(sequences)


def _rows(connection: Connection, question: LiteralString) -> list[Row]:
    return connection.execute(question).fetchall()


def _texts(names: object) -> tuple[str, ...]:
    assert isinstance(names, list)
    return tuple(str(name) for name in names)
