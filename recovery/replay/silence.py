"""Writes that no trigger of the database answers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import LiteralString

from psycopg import Connection, sql

from diffing.model import parts

# Of a partitioned table those of its partitions too, each by itself.
_TRIGGERS = """
SELECT s.nspname, c.relname, t.tgname, t.tgenabled
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND (
  c.oid = pg_catalog.to_regclass(%(name)s)
  OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%(name)s))))
ORDER BY t.oid
"""
_ENABLE: dict[str, LiteralString] = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


@contextmanager
def silent(connection: Connection[tuple[object, ...]], tables: Iterable[str]) -> Iterator[None]:
    """Inside a transaction: user triggers of these tables are off; afterwards those that were on
    are on again, as they were, and no others. An error leaves that to the rollback."""
    found: list[tuple[str, str, str, str]] = []
    for name in tables:
        quoted = sql.Identifier(*parts(name)).as_string(None)
        for row in connection.execute(_TRIGGERS, {"name": quoted}).fetchall():
            schema, relation, trigger, state = map(str, row)
            found.append((schema, relation, trigger, state))
    for schema, relation, trigger, _ in found:
        _switch(connection, "DISABLE", schema, relation, trigger)
    yield
    # A table with constraints still to be checked cannot be altered.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for schema, relation, trigger, state in found:
        _switch(connection, _ENABLE[state], schema, relation, trigger)


def _switch(
    connection: Connection[tuple[object, ...]],
    how: LiteralString,
    schema: str,
    relation: str,
    trigger: str,
) -> None:
    connection.execute(
        sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(
            sql.Identifier(schema, relation), sql.SQL(how), sql.Identifier(trigger)
        )
    )
