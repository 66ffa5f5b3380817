"""What the server itself says that a transaction wrote: the other side of the completeness check.

Counts are deltas within one transaction, because the server adds earlier ones to them until it
gets round to publishing them. They hold rows of savepoints that were taken back; those that a step
names itself are subtracted, those inside functions are not: then the check fails, on the safe side.
"""

from psycopg import Connection

from diffing.model import qualified
from recovery.replay.transactions import savepoint

# Rows written per table (of a partition: per root); and one line for the files of all tables,
# which a TRUNCATE or a rewriting ALTER TABLE replaces, and for the changes of definitions.
_COUNTS = """
WITH w AS MATERIALIZED (
  SELECT c.oid, c.relispartition, c.relfilenode,
    pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
    + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
    + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS n
  FROM pg_catalog.pg_class c
  WHERE c.oid >= 16384 AND c.relkind = 'r' AND c.relpersistence <> 't')
SELECT s.nspname, r.relname, pg_catalog.sum(w.n)::bigint
FROM w JOIN pg_catalog.pg_class r
  ON r.oid = CASE WHEN w.relispartition THEN pg_catalog.pg_partition_root(w.oid) ELSE w.oid END
JOIN pg_catalog.pg_namespace s ON s.oid = r.relnamespace
WHERE w.n <> 0 GROUP BY 1, 2
UNION ALL
SELECT NULL, NULL, coalesce(pg_catalog.sum(w.oid::bigint * 7 + w.relfilenode::bigint), 0)::bigint
  + 1000000007 * (SELECT last_value + is_called::int FROM dbmend_watch.alterations)
FROM w
"""

Counts = dict[str, int]


class Watch:
    """One per session of a replay."""

    def __init__(self, connection: Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self._start: Counts = {}
        self._taken_back: Counts = {}
        self._marks: dict[str, Counts] = {}
        self._print = 0

    def begin(self) -> None:
        """A transaction begins."""
        self._start, self._print = self._counts()
        self._taken_back = {}
        self._marks = {}

    def note(self, statement: str) -> None:
        """The statement was executed: savepoints are followed."""
        match savepoint(statement):
            case ("set", name):
                self._marks[name] = self._written(self._counts()[0])
            case ("back", name) if name in self._marks:
                for table, count in self._written(self._counts()[0]).items():
                    more = count - self._marks[name].get(table, 0)
                    self._taken_back[table] = self._taken_back.get(table, 0) + more
            case _:
                pass

    def end(self) -> tuple[Counts, bool]:
        """Rows written in the transaction by table, and whether it changed more than rows: the
        files of a table, or a definition."""
        counts, printed = self._counts()
        return self._written(counts), printed != self._print

    def _written(self, counts: Counts) -> Counts:
        found = {
            table: count - self._start.get(table, 0) - self._taken_back.get(table, 0)
            for table, count in counts.items()
        }
        return {table: count for table, count in found.items() if count}

    def _counts(self) -> tuple[Counts, int]:
        counts: Counts = {}
        files = 0
        for schema, relation, count in self._connection.execute(_COUNTS.encode()).fetchall():
            if schema is None:
                files = int(str(count))
            else:
                counts[qualified(str(schema), str(relation))] = int(str(count))
        return counts, files
