"""Steps whose effect depends on the order in which the server meets rows: LIMIT without ORDER BY,
aggregates of text without an order, ctid, loops over a query. That order is not in a dump. In the
run that moves clock and chance, the tables that such a step touches get another physical order
before it; what then comes out otherwise is unsteady.

Only the first rows of a table are moved, and only a few times: that shows what such statements
take from the head of a table, and not ties among rows that lie deep in it.
"""

import re
from collections.abc import Collection, Iterable, Sequence

import duckdb
import psycopg
from psycopg import Connection, sql

from diffing.model import Schema, Table, parts
from recovery.model import Act, History
from recovery.replay.silence import silent

SHUFFLED = "~shuffled"  # the marker of rows that were only moved
_ROWS_MAX = 500
_TIMES_MAX = 8
_WORD = re.compile(r"\w+")
_ORDERED = re.compile(r"\bdistinct\s+on\b", re.I)
_WORDS = frozenset(
    (
        *("limit", "fetch", "offset", "tablesample", "ctid", "distinct_on", "over"),
        *("string_agg", "array_agg", "json_agg", "jsonb_agg", "json_object_agg"),
        *("jsonb_object_agg", "xmlagg", "loop", "foreach", "cursor"),
    )
)
_SUMS = frozenset({"sum", "avg", "stddev", "variance"})  # of floats: the last digits

# Texts that run when something of this name is used: bodies, views, rules, functions of triggers.
_SOURCES = """
SELECT p.proname, pg_catalog.pg_get_functiondef(p.oid)
FROM pg_catalog.pg_proc p WHERE p.prokind IN ('f', 'p') AND p.pronamespace::regnamespace::text
  !~ '^(pg_|information_schema|dbmend_)'
UNION ALL
SELECT c.relname, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c
WHERE c.relkind = 'v' AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema|dbmend_)'
UNION ALL
SELECT c.relname, p.proname FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
UNION ALL
SELECT c.relname, pg_catalog.pg_get_ruledef(r.oid) FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE c.relkind IN ('r', 'p')
"""

# One by one and backwards: every row goes behind the one that was behind it.
_MOVE = """
DO $$ DECLARE place tid; places tid[];
BEGIN
  SELECT pg_catalog.array_agg(t.ctid ORDER BY t.ctid DESC) INTO places
  FROM (SELECT ctid FROM ONLY {0} ORDER BY ctid LIMIT {2}) AS t;
  FOREACH place IN ARRAY coalesce(places, '{{}}') LOOP
    UPDATE ONLY {0} SET {1} = {1} WHERE ctid = place;
  END LOOP;
END $$
"""

_DIFFERING = """
WITH one AS (SELECT DISTINCT step, "table", key, "column", op FROM effect
             WHERE run = $run AND step IN (SELECT unnest($steps::VARCHAR[])) AND "column" <> ''),
other AS (SELECT DISTINCT step, "table", key, "column", op FROM effect
          WHERE run = $moved AND step IN (SELECT unnest($steps::VARCHAR[])) AND "column" <> ''),
differing AS ((FROM one EXCEPT FROM other) UNION (FROM other EXCEPT FROM one))
SELECT DISTINCT step, "table", "column" FROM differing
WHERE op <> 'insert' OR NOT list_contains($timed::VARCHAR[], "table")
"""


class Disorder:
    """One per session of a run that moves clock and chance."""

    def __init__(
        self,
        connection: Connection[tuple[object, ...]],
        schema: Schema,
        shuffled: Iterable[str] = (),
    ) -> None:
        self._connection = connection
        self._schema = schema
        self.shuffled = list(shuffled)  # acts before which rows were moved
        self._times: dict[str, int] = {}
        self._sources: dict[str, set[str]] = {}
        for name, text in connection.execute(_SOURCES.encode()).fetchall():
            self._sources.setdefault(str(name).lower(), set()).update(_words(str(text)))

    def before(self, act: Act) -> None:
        """Move the rows that the act meets first, if it may depend on their order."""
        concerned = self.concerned(act.statements)
        if concerned:
            self.shuffled.append(act.id)
        for table in concerned:
            if self._times.get(table.name, 0) < _TIMES_MAX:
                self._times[table.name] = self._times.get(table.name, 0) + 1
                self._shuffle(table)

    def concerned(self, statements: Iterable[str]) -> Sequence[Table]:
        """Tables that these statements name, directly or through what they call; none when
        nothing in them depends on an order."""
        words: set[str] = set()
        fresh = _words(" ".join(statements))
        while fresh:
            words |= fresh
            fresh = set[str]().union(*(self._sources.get(word, ()) for word in fresh)) - words
        named = [table for table in self._schema.tables if table.relation.lower() in words]
        floats = any(c.family == "float" for table in named for c in table.columns)
        return named if words & _WORDS or (floats and words & _SUMS) else ()

    def _shuffle(self, table: Table) -> None:
        free = [c.name for c in table.columns if not c.generated and c.identity != "always"]
        free.sort(key=lambda name: name in table.key.columns)
        if not free:
            return
        for name in table.partitions or (table.name,):
            relation = sql.Identifier(*parts(name))
            move = sql.SQL(_MOVE).format(relation, sql.Identifier(free[0]), sql.Literal(_ROWS_MAX))
            try:
                with self._connection.transaction():
                    self._connection.execute(
                        "SELECT pg_catalog.pg_logical_emit_message(true, 'step', %s::text)",
                        (SHUFFLED,),
                    )
                    with silent(self._connection, [name]):
                        self._connection.execute(move)
            except psycopg.Error:  # a step has changed it: it stays as it is
                if self._connection.closed:
                    raise


def learn_unsteady(
    facts: duckdb.DuckDBPyConnection,
    runs: tuple[str, str],
    history: History,
    shuffled: Collection[str],
    schema: Schema,
) -> None:
    """Fill `unsteady` from the effects of a run and of the one in which rows lay otherwise before
    the acts `shuffled`: columns that other rows were written in, from the first such act on. Rows
    whose key is a time have another one in the second run anyway."""
    facts.execute("DELETE FROM unsteady")
    names = {"run": runs[0], "moved": runs[1], "timed": _timed(schema)}
    ids = [act.id for act in history]
    first = facts.execute(
        f"SELECT DISTINCT step FROM ({_DIFFERING})", names | {"steps": list(shuffled)}
    ).fetchall()
    if first:
        later = ids[min(ids.index(str(step)) for (step,) in first) :]
        facts.execute(f"INSERT INTO unsteady {_DIFFERING}", names | {"steps": later})


def _timed(schema: Schema) -> list[str]:
    return [
        table.name
        for table in schema.tables
        if any(column.type.startswith(("time", "date")) for column in table.key_columns)
    ]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_ORDERED.sub("distinct_on", text.lower())))
