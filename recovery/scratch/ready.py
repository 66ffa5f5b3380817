"""Makes a loaded database ready to be replayed on and compared."""

from typing import Final

import psycopg

from diffing.model import qualified
from recovery.scratch.cluster import Connection, about_the_server

READY: Final = """
SELECT pg_catalog.format(
    CASE what WHEN 1 THEN 'ALTER TABLE %s SET LOGGED'
              WHEN 2 THEN 'ALTER TABLE %s NO FORCE ROW LEVEL SECURITY'
              ELSE 'ALTER TABLE %s REPLICA IDENTITY FULL' END, c.oid::regclass)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.generate_series(1, 3) AS what
WHERE c.relkind IN ('r', 'p') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND CASE what WHEN 1 THEN c.relpersistence = 'u' AND c.relkind = 'r'
                WHEN 2 THEN c.relforcerowsecurity
                ELSE c.relreplident <> 'f' AND c.relpersistence <> 't' END
ORDER BY c.oid, what
"""

ROOT: Final = """
SELECT n.nspname, c.relname
FROM pg_catalog.to_regclass(%s) AS given(oid)
JOIN pg_catalog.pg_class c
  ON c.oid = coalesce(pg_catalog.pg_partition_root(given.oid), given.oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


def make_ready(connection: Connection) -> None:
    """Every table is logged, writes whole old rows to the log and shows its owner every row;
    the planner has statistics. Settings of the session are back to the pinned ones."""
    connection.execute("RESET ALL")
    for (text,) in connection.execute(READY).fetchall():
        connection.execute(str(text).encode())
    connection.execute("ANALYZE")


def standing_for(connection: Connection, written: str) -> str:
    """The table that a name means, as it is written in SQL and under the session's search_path:
    of a partition, the table that stands for it. '' when there is none."""
    try:
        row = connection.execute(ROOT, (written,)).fetchone()
    except psycopg.Error as error:
        if about_the_server(error):
            raise
        return ""
    return qualified(str(row[0]), str(row[1])) if row else ""
