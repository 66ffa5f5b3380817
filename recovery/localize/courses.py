"""What each cell held from backup to backup, and which of its changes look like decay.

Relations of the case database, all about cells that differ between any two states:

state    backups whose age is known, the oldest first, and the current state: n, backup, taken_at
change   a cell of one state that is otherwise in the next that tells of it: "table", key,
         "column", seen (the state that has it first), before (the last without it), old, new
decayed  changes that look like decay of one sort: "table", key, "column", seen, sort, mark (what
         all of them would have in common if people had made them)
"""

from collections.abc import Iterable

import duckdb

from diffing.model import Column, Schema, Table
from recovery.localize.hypotheses.double_encoding import likely
from recovery.localize.mangles import kind_of

CURRENT = ""  # the name of the current state among backups

# Sorts of decay.
BITS = "single bits"
ENCODED = "read in a wrong encoding"
REPLACED = "characters replaced"
ROUNDED = "rounded"
CUT = "cut off"

_WORK_MOVES_BY = 10.0  # by less than this, numbers are moved by work all the time
_ROUNDED_BY = 0.1  # of the value: more is another value
_SAMPLE_MAX = 200
_PAIRS_MAX = 20_000  # texts of one column that are tried in a wrong encoding

_STATE = """
CREATE OR REPLACE TEMP TABLE state AS
SELECT row_number() OVER (ORDER BY taken_at, backup) AS n, backup, taken_at
FROM earlier_backup WHERE taken_at IS NOT NULL
UNION ALL SELECT count(*) + 1, '', NULL FROM earlier_backup WHERE taken_at IS NOT NULL
"""

# A row that a state does not have, or that is not there now, is left to those who look for rows.
_CHANGE = """
CREATE OR REPLACE TEMP TABLE change AS
WITH missed AS (
    SELECT "table", key FROM divergence WHERE kind IN ('missing', 'unreadable', 'unknown')),
cells AS (
    SELECT "table", key, "column", first(base) AS base FROM (
        SELECT e."table", e.key, e."column", e.base
        FROM earlier e JOIN state s ON s.backup = e.backup WHERE e."column" <> ''
        UNION ALL
        SELECT "table", key, "column", backup FROM divergence WHERE kind = 'changed')
    ANTI JOIN missed USING ("table", key) GROUP BY ALL),
born AS (
    SELECT d."table", d.key, s.n, e.value AS image FROM divergence d
    JOIN earlier e ON e."table" = d."table" AND e.key = d.key AND e."column" = ''
    JOIN state s ON s.backup = e.backup
    WHERE d.kind = 'extra' AND e.value IS NOT NULL
    UNION ALL
    SELECT "table", key, (SELECT max(n) FROM state), current FROM divergence
    WHERE kind = 'extra' AND ("table", key) IN (
        SELECT ("table", key) FROM earlier WHERE "column" = '' AND value IS NOT NULL)),
point AS (
    SELECT c."table", c.key, c."column", s.n,
           CASE WHEN s.backup = '' AND d.key IS NOT NULL THEN d.current
                WHEN e.key IS NOT NULL THEN e.value ELSE c.base END AS value
    FROM cells c CROSS JOIN state s
    LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = c."table" AND d.key = c.key
         AND d."column" = c."column"
    LEFT JOIN earlier e ON e.backup = s.backup AND e."table" = c."table" AND e.key = c.key
         AND e."column" = c."column"
    LEFT JOIN earlier gone ON gone.backup = s.backup AND gone."table" = c."table"
         AND gone.key = c.key AND gone."column" = ''
    LEFT JOIN earlier_told t ON t.backup = s.backup AND t."table" = c."table"
         AND t."column" = c."column"
    WHERE gone.key IS NULL AND (s.backup IN ('', 'backup') OR t.backup IS NOT NULL)
    UNION ALL
    SELECT b."table", b.key, j.key, b.n, json_extract_string(j.value, '$')
    FROM born b, json_each(b.image) j),
told AS (
    SELECT *, lag(value) OVER cell AS old, lag(n) OVER cell AS before
    FROM point WINDOW cell AS (PARTITION BY "table", key, "column" ORDER BY n))
SELECT "table", key, "column", n AS seen, before, old, value AS new FROM told
WHERE before IS NOT NULL AND value IS DISTINCT FROM old
"""

_DECAYED = """
CREATE OR REPLACE TEMP TABLE decayed (
    "table" VARCHAR, key VARCHAR, "column" VARCHAR, seen BIGINT, sort VARCHAR, mark VARCHAR)
"""
_SORTED = """
INSERT INTO decayed
SELECT "table", key, "column", seen, '{sort}', ({mark})::VARCHAR FROM change
WHERE "table" = $table AND "column" = $column AND old IS NOT NULL AND new IS NOT NULL AND ({sign})
"""
_MISREAD = """
INSERT INTO decayed
WITH pair AS (
    SELECT unnest($olds::VARCHAR[]) AS old, unnest($news::VARCHAR[]) AS new,
           unnest($hows::VARCHAR[]) AS how)
SELECT c."table", c.key, c."column", c.seen, $sort, p.how FROM change c
JOIN pair p ON p.old = c.old AND p.new = c.new
WHERE c."table" = $table AND c."column" = $column
"""
_SAME_LENGTH = (
    "octet_length(encode(old)) = octet_length(encode(new)) AND octet_length(encode(old)) > 0"
)
_BITS_OF_TEXT = (
    f"CASE WHEN {_SAME_LENGTH}"
    " THEN bit_count(xor(encode(old)::BIT, encode(new)::BIT)) = 1 ELSE false END"
)
# Of a text and of a number: what a bit did, and what tells that not always the same was done.
_SIGNS_OF_TEXT = (
    (BITS, _BITS_OF_TEXT, "xor(encode(old)::BIT, encode(new)::BIT)"),
    (
        REPLACED,
        "new <> old AND regexp_matches(old, '[^\\x00-\\x7F]') AND list_contains(["
        "regexp_replace(old, '[^\\x00-\\x7F]', '?', 'g'),"
        " regexp_replace(old, '[^\\x00-\\x7F]', '\ufffd', 'g'),"
        " regexp_replace(old, '[^\\x00-\\xFF]', '?', 'g')], new)",
        "new",
    ),
    (CUT, "new <> '' AND length(new) < length(old) AND starts_with(old, new)", "length(new)"),
)
_WHOLE = "try_cast({0} AS BIGINT)"
_SIGNS_OF_NUMBERS = (
    (
        BITS,
        f"abs(try_cast(new AS DOUBLE) - try_cast(old AS DOUBLE)) >= {_WORK_MOVES_BY} AND ("
        f"{_BITS_OF_TEXT} OR CASE WHEN regexp_full_match(old, '-?[0-9]+')"
        " AND regexp_full_match(new, '-?[0-9]+') THEN coalesce(bit_count(xor("
        "try_cast(old AS BIGINT), try_cast(new AS BIGINT))) = 1, false) ELSE false END)",
        "try_cast(new AS DOUBLE) - try_cast(old AS DOUBLE)",
    ),
    (
        ROUNDED,
        "try_cast(new AS DOUBLE) <> 0 AND abs(try_cast(old AS DOUBLE) - try_cast(new AS DOUBLE))"
        f" <= {_ROUNDED_BY} * abs(try_cast(old AS DOUBLE)) AND list_bool_or(list_transform("
        "range(-3, 6), lambda d: abs(round(try_cast(old AS DOUBLE), d::INTEGER)"
        " - try_cast(new AS DOUBLE)) <= 1e-9))",
        "new",
    ),
)


def lay_out_courses(facts: duckdb.DuckDBPyConnection, schema: Schema) -> bool:
    """Make the relations. False where there are not two backups of known age, the one that the
    log starts from among them: then nothing can be said about a course."""
    facts.execute(_STATE)
    row = facts.execute(
        "SELECT count(*) FILTER (backup <> ''), count(*) FILTER (backup = 'backup') FROM state"
    ).fetchone()
    if row is None or row[0] < 2 or not row[1]:
        return False
    facts.execute(_CHANGE)
    facts.execute(_DECAYED)
    for table, column in _changed(facts, schema):
        _sort(facts, table, column)
    return True


def taken(facts: duckdb.DuckDBPyConnection) -> dict[int, str]:
    """When each state was taken (UTC, ISO); '' for the current one."""
    rows = facts.execute("SELECT n, taken_at FROM state ORDER BY n").fetchall()
    return {int(n): str(at or "") for n, at in rows}


def _changed(facts: duckdb.DuckDBPyConnection, schema: Schema) -> Iterable[tuple[Table, Column]]:
    rows = facts.execute('SELECT DISTINCT "table", "column" FROM change ORDER BY ALL').fetchall()
    for name, column in rows:
        table = schema.table(str(name)) if schema.has(str(name)) else None
        known = {one.name: one for one in table.columns} if table else {}
        if table is not None and str(column) in known:
            yield table, known[str(column)]


def _sort(facts: duckdb.DuckDBPyConnection, table: Table, column: Column) -> None:
    """Sort the changes of one column."""
    place: dict[str, object] = {"table": table.name, "column": column.name}
    kind = kind_of(column)
    signs = {"text": _SIGNS_OF_TEXT, "number": _SIGNS_OF_NUMBERS}.get(kind or "", ())
    for sort, sign, mark in signs:
        facts.execute(_SORTED.format(sort=sort, sign=sign, mark=mark), place)
    if kind == "text":
        _misread(facts, place)


def _misread(facts: duckdb.DuckDBPyConnection, place: dict[str, object]) -> None:
    """Texts that became what comes out of reading them in a wrong encoding."""
    rows = facts.execute(
        'SELECT DISTINCT old, new FROM change WHERE "table" = $table AND "column" = $column'
        " AND regexp_matches(old, '[^\\x00-\\x7F]') AND new IS NOT NULL ORDER BY ALL"
        f" LIMIT {_PAIRS_MAX}",
        place,
    ).fetchall()
    pairs = [(str(old), str(new)) for old, new in rows]
    found = {
        (old, new): str(reading)
        for reading in reversed(likely(pairs[:_SAMPLE_MAX]))
        for old, new in pairs
        if reading.of(old) == new
    }
    facts.execute(
        _MISREAD,
        place
        | {
            "sort": ENCODED,
            "olds": [old for old, _ in found],
            "news": [new for _, new in found],
            "hows": list(found.values()),
        },
    )
