"""What the rows of every table look like from outside: which files hold them, and what the catalog
says of their columns. Where that changed, rows may read otherwise though nothing was written that
the server would decode: a TRUNCATE, another type of a column, another label of an enumeration, a
partition that came or went.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from psycopg import Connection

from diffing.model import Schema, qualified

# A partition counts for its root. Types of the database's own are in the print of every table
# that has a column of one: a renamed label changes the text of rows that stay where they are.
_LOOKS = """
WITH own AS MATERIALIZED (
  SELECT pg_catalog.md5(pg_catalog.concat(
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', e.oid, e.enumtypid, e.enumlabel), ','
            ORDER BY e.oid) FROM pg_catalog.pg_enum e), ';',
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', a.attrelid, a.attnum, a.atttypid,
            a.atttypmod, a.attisdropped), ',' ORDER BY a.attrelid, a.attnum)
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
     WHERE c.relkind = 'c'))) AS print),
part AS (
  SELECT c.oid, coalesce(pg_catalog.pg_partition_root(c.oid), c.oid) AS root,
    pg_catalog.concat_ws(':', c.oid, c.relfilenode,
      CASE WHEN pg_catalog.bool_or(a.atttypid >= 16384) THEN (SELECT print FROM own) END,
      pg_catalog.string_agg(pg_catalog.concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod,
        a.attisdropped, a.attmissingval::text, a.attgenerated,
        CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END), ','
        ORDER BY a.attnum)) AS print
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  GROUP BY c.oid)
SELECT s.nspname, r.relname,
  pg_catalog.md5(pg_catalog.string_agg(part.print, ';' ORDER BY part.oid)),
  (SELECT pg_catalog.array_agg(a.attname::text) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM part JOIN pg_catalog.pg_class r ON r.oid = part.root
JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
GROUP BY r.oid, s.nspname, r.relname
"""


@dataclass(frozen=True, slots=True)
class Look:
    print: str
    columns: frozenset[str]


Looks = Mapping[str, Look]


@dataclass(frozen=True, slots=True)
class Moved:
    """Tables of the backup that look otherwise. `readable`: all the backup's columns were and are
    there; `gone`: per table why its rows cannot be told."""

    readable: frozenset[str]
    gone: Mapping[str, str]


def read_looks(connection: Connection[tuple[object, ...]]) -> Looks:
    return {
        qualified(str(schema), str(relation)): Look(
            str(printed), frozenset(cast(list[str], columns or []))
        )
        for schema, relation, printed, columns in connection.execute(_LOOKS.encode()).fetchall()
    }


def may_wait(connection: Connection[tuple[object, ...]]) -> bool:
    """Whether there are constraints whose check may be left to a COMMIT."""
    asked = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable)"
    ).fetchone()
    return asked == (True,)


def readable(looks: Looks, schema: Schema) -> frozenset[str]:
    """Tables of the backup that have all its columns."""
    return frozenset(
        table.name
        for table in schema.tables
        if table.name in looks
        and all(column.name in looks[table.name].columns for column in table.columns)
    )


def moved(before: Looks, after: Looks, schema: Schema) -> Moved:
    readable: set[str] = set()
    gone: dict[str, str] = {}
    for table in schema.tables:
        if table.name not in before or before[table.name] == after.get(table.name):
            continue
        if table.name not in after:
            gone[table.name] = f"{table.name} is no longer there under this name"
            continue
        there = before[table.name].columns & after[table.name].columns
        lost = [column.name for column in table.columns if column.name not in there]
        if lost:
            gone[table.name] = f"{table.name} has lost {', '.join(lost)}"
        else:
            readable.add(table.name)
    return Moved(frozenset(readable), gone)
