"""Every SQL text of a comparison. Values are parameters; the only names pasted in are our own
(`c0`, `c1`, ... and the two sides), so that no customer's identifier is ever part of a statement.

Relations of one table's scratch database, per side:
row_*    v: texts of the common columns, rest: of the side's own columns, k: canonical key text or
         NULL when a part of it is NULL, shown: the key as it is shown
crowd    canonical keys that several rows of one side share
pair     rows with a usable key that are not byte-equal on both sides
cell     differing cells of pairs found on both sides, each with what its difference is
left_*   rows without a usable key that found no equal on the other side
canon    texts of judged columns whose canonical text is another one
"""

import json
from collections.abc import Sequence
from typing import Literal

Side = Literal["backup", "current"]
SIDES: tuple[Side, Side] = ("backup", "current")

SETTINGS = (
    "SET preserve_insertion_order = false",
    "SET enable_progress_bar = false",
)


_CONTROL = "[\\x01-\\x07\\x0b\\x0e-\\x1f\\x7f]"  # what DuckDB and Python escape differently

# The same bytes as json.dumps(..., ensure_ascii=False, separators=(",", ":")).
MACROS = (
    "CREATE MACRO json_text(x) AS CASE WHEN x IS NULL THEN 'null' "
    "WHEN regexp_matches(x, '" + _CONTROL + "') THEN '\"' || array_to_string(list_transform("
    "regexp_extract_all(x, '(?s).'), lambda c: CASE WHEN regexp_matches(c, '^" + _CONTROL + "$') "
    "AND c <> chr(127) THEN printf('\\u%04x', ord(c)) ELSE (to_json(c)::VARCHAR)[2:-2] END), '') "
    "|| '\"' WHEN regexp_matches(x, '[\\x01-\\x1f\"\\\\]') THEN to_json(x)::VARCHAR "
    "ELSE '\"' || x || '\"' END",
    "CREATE MACRO json_row(labels, v) AS '{' || array_to_string(list_transform("
    "list_zip(labels, v), lambda p: p[1] || json_text(p[2])), ',') || '}'",
    "CREATE MACRO json_list(v) AS "
    "'[' || array_to_string(list_transform(v, lambda x: json_text(x)), ',') || ']'",
)


def label(name: str) -> str:
    """The first half of a JSON member: `"name":`."""
    return json.dumps(name, ensure_ascii=False) + ":"


def read_rows(side: Side, common: int, rest: int, key: Sequence[int], line_bytes_max: int) -> str:
    """Rows of one CSV file (parameter: its path). One reader, so that a quoted line break can
    never be taken for the end of a row."""
    fields = ["c" + str(n) for n in range(common + rest + 1)]
    columns = "{" + ", ".join("'" + field + "': 'VARCHAR'" for field in fields) + "}"
    size = str(line_bytes_max)
    return (
        "CREATE TABLE row_" + side + " AS SELECT "
        + _list(fields[1 : common + 1]) + " AS v, "
        + _list(fields[common + 1 :]) + " AS rest, "
        + _key_text([fields[position + 1] for position in key]) + " AS k, "
        + _list([fields[position + 1] for position in key]) + " AS shown "
        + "FROM read_csv(?, header=false, auto_detect=false, delim=',', quote='\"', escape='\"', "
        + "nullstr='', allow_quoted_nulls=false, comment='', new_line='\\n', parallel=false, "
        + "columns=" + columns + ", max_line_size=" + size + ", buffer_size=" + size + ")"
    )  # fmt: skip


def no_rows(side: Side) -> str:
    """The side that does not have the table."""
    return "CREATE TABLE row_" + side + " (v VARCHAR[], rest VARCHAR[], k VARCHAR, shown VARCHAR[])"


CANON = "CREATE OR REPLACE TABLE canon (i BIGINT, text VARCHAR, canonical VARCHAR)"

FILL_CANON = (
    "INSERT INTO canon SELECT i::BIGINT, text, canonical FROM read_csv(?, header=false, "
    "auto_detect=false, delim=',', quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, "
    "comment='', new_line='\\n', parallel=false, columns={'i': 'VARCHAR', 'text': 'VARCHAR', "
    "'canonical': 'VARCHAR'}, max_line_size=$LINE, buffer_size=$LINE)"
)


def fill_canon(line_bytes_max: int) -> str:
    return FILL_CANON.replace("$LINE", str(line_bytes_max))


def key_texts(position: int) -> str:
    """All texts of a key column, once each (0-based position in the key)."""
    part = "shown[" + str(position + 1) + "]"
    one = "SELECT " + part + " AS text FROM row_"
    return (
        "SELECT " + str(position) + " AS i, text FROM (" + one + "backup UNION " + one + "current) "
        "WHERE text IS NOT NULL"
    )


def canonical_keys(side: Side, judged: Sequence[int], trimmed: Sequence[int], width: int) -> str:
    """Rewrite the key of every row to canonical texts; `trimmed` parts are shown that way too."""
    joins = ""
    for position in judged:
        name = "m" + str(position)
        joins += (
            " LEFT JOIN canon AS " + name + " ON " + name + ".i = " + str(position)
            + " AND " + name + ".text = r.shown[" + str(position + 1) + "]"
        )  # fmt: skip
    printed = ["r.shown[" + str(n + 1) + "]" for n in range(width)]
    canon = [
        "coalesce(m" + str(n) + ".canonical, " + printed[n] + ")" if n in judged else printed[n]
        for n in range(width)
    ]
    shown = [canon[n] if n in trimmed else printed[n] for n in range(width)]
    return (
        "CREATE OR REPLACE TABLE row_" + side + " AS SELECT r.v, r.rest, " + _key_text(canon)
        + " AS k, " + _list(shown) + " AS shown FROM row_" + side + " AS r" + joins
    )  # fmt: skip


COUNT_ROWS = {side: "SELECT count(*) FROM row_" + side for side in SIDES}

CROWD = (
    "CREATE TABLE crowd AS "
    "SELECT k FROM row_backup WHERE k IS NOT NULL GROUP BY k HAVING count(*) > 1 UNION "
    "SELECT k FROM row_current WHERE k IS NOT NULL GROUP BY k HAVING count(*) > 1"
)

# Keys that several rows share, the rows that share one, rows with NULL in the key.
DUPLICATES = {
    side: (
        "SELECT (SELECT count(*) FROM (SELECT k FROM row_" + side + " WHERE k IS NOT NULL "
        "GROUP BY k HAVING count(*) > 1)), (SELECT count(*) FROM row_" + side + " WHERE k IS NULL)"
    )
    for side in SIDES
}

_ALONE = "(SELECT r.* FROM row_$SIDE AS r ANTI JOIN crowd USING (k) WHERE r.k IS NOT NULL)"

PAIR = (
    "CREATE TABLE pair AS SELECT coalesce(b.k, c.k) AS k, "
    "json_row(?::VARCHAR[], coalesce(b.shown, c.shown)) AS key, "
    "b.v AS bv, b.rest AS brest, c.v AS cv, c.rest AS crest FROM "
    + _ALONE.replace("$SIDE", "backup") + " AS b FULL JOIN "
    + _ALONE.replace("$SIDE", "current") + " AS c ON b.k = c.k "
    "WHERE b.v IS NULL OR c.v IS NULL OR b.v IS DISTINCT FROM c.v"
)  # fmt: skip

COUNT_PAIRS = "SELECT count(*) FROM pair"

# Parameter: the role of every common column.
CELL = (
    "CREATE TABLE cell AS SELECT k, key, i, role, backup, current FROM ("
    "SELECT k, key, unnest(bv) AS backup, unnest(cv) AS current, "
    "unnest(range(len(bv))) AS i, unnest(?::VARCHAR[]) AS role "
    "FROM pair WHERE bv IS NOT NULL AND cv IS NOT NULL) "
    "WHERE backup IS DISTINCT FROM current AND role <> 'ignored'"
)

CELL_TEXTS = (
    "SELECT DISTINCT i, text FROM ("
    "SELECT i, unnest([backup, current]) AS text FROM cell "
    "WHERE role = 'judged' AND backup IS NOT NULL AND current IS NOT NULL)"
)

JUDGED = (
    "CREATE TABLE judged AS SELECT d.k, d.key, d.i, d.backup, d.current, "
    "CASE WHEN d.role = 'derived' THEN 'derived' "
    "WHEN d.backup IS NULL OR d.current IS NULL OR d.role = 'exact' THEN 'changed' "
    "WHEN coalesce(b.canonical, d.backup) = coalesce(c.canonical, d.current) THEN 'representation' "
    "ELSE 'changed' END AS difference FROM cell AS d "
    "LEFT JOIN canon AS b ON b.i = d.i AND b.text = d.backup "
    "LEFT JOIN canon AS c ON c.i = d.i AND c.text = d.current"
)

PAIR_COUNTS = (
    "SELECT count(*) FILTER (cv IS NULL), count(*) FILTER (bv IS NULL), "
    "(SELECT count(DISTINCT k) FROM judged WHERE difference = 'changed'), "
    "(SELECT count(*) FROM (SELECT k FROM judged WHERE difference <> 'derived' GROUP BY k "
    "HAVING bool_and(difference = 'representation'))) FROM pair"
)

CELL_COUNTS = "SELECT difference, i, count(*) FROM judged GROUP BY ALL ORDER BY ALL"

_LOOSE = (
    "(SELECT rowid AS place, sha256(json_list(v || rest)) AS digest, "
    "list_select(v, $1::BIGINT[]) AS e FROM row_$SIDE "
    "WHERE k IS NULL OR k IN (SELECT k FROM crowd))"
)

COUNT_LOOSE = {
    side: "SELECT count(*) FROM row_" + side + " WHERE k IS NULL OR k IN (SELECT k FROM crowd)"
    for side in SIDES
}

# Parameter: 1-based positions of what makes rows equal.
UNEVEN = (
    "CREATE TABLE uneven AS SELECT row_number() OVER () AS id, coalesce(b.e, c.e) AS e, "
    "coalesce(b.n, 0) AS backup, coalesce(c.n, 0) AS current FROM (SELECT e, count(*) AS n FROM "
    + _LOOSE.replace("$SIDE", "backup") + " GROUP BY e) AS b "
    "FULL JOIN (SELECT e, count(*) AS n FROM " + _LOOSE.replace("$SIDE", "current")
    + " GROUP BY e) AS c ON b.e = c.e WHERE b.n IS DISTINCT FROM c.n"
)  # fmt: skip


def left_over(side: Side) -> str:
    """Copies beyond the common count (parameter: as of `UNEVEN`).

    Which of equal copies are left is decided by the digest of the whole row, so that it is the
    same at any order of the rows; copies with one digest are interchangeable. Only digests are
    sorted, never the rows: those may be large.
    """
    other = SIDES[1 - SIDES.index(side)]
    return (
        "CREATE TABLE left_" + side + " AS SELECT r.rowid AS rid, r.v, r.rest, "
        "list_select(r.v, $1::BIGINT[]) AS e, s.digest FROM row_" + side + " AS r JOIN ("
        "SELECT place, digest, common, row_number() OVER (PARTITION BY id ORDER BY digest) AS n "
        "FROM (SELECT l.place, l.digest, u.id, u." + other + " AS common FROM "
        + _LOOSE.replace("$SIDE", side) + " AS l JOIN uneven AS u ON l.e = u.e "
        "WHERE u." + side + " > u." + other + ")) AS s ON s.place = r.rowid WHERE s.n > s.common"
    )  # fmt: skip


# Parameters: the 0-based positions of what makes rows equal, and their roles.
_LEFT_TEXTS = "SELECT unnest($1::BIGINT[]) AS i, unnest($2::VARCHAR[]) AS role, unnest(e) AS text "

LEFT_TEXTS = (
    "SELECT DISTINCT i, text FROM ("
    + _LEFT_TEXTS + "FROM left_backup UNION ALL " + _LEFT_TEXTS + "FROM left_current) "
    "WHERE role = 'judged' AND text IS NOT NULL"
)  # fmt: skip


def canonical_left(side: Side) -> str:
    """Left rows with their canonical texts (parameter: 0-based positions)."""
    return (
        "CREATE TABLE canonical_" + side + " AS SELECT t.rid, any_value(t.digest) AS digest, "
        "list(coalesce(m.canonical, t.text) ORDER BY t.i) AS e FROM ("
        "SELECT rid, digest, unnest(?::BIGINT[]) AS i, unnest(e) AS text FROM left_" + side
        + ") AS t LEFT JOIN canon AS m ON m.i = t.i AND m.text = t.text GROUP BY t.rid"
    )  # fmt: skip


ALIKE = (
    "CREATE TABLE alike AS SELECT row_number() OVER () AS id, e FROM ("
    "SELECT DISTINCT b.e FROM canonical_backup AS b SEMI JOIN canonical_current AS c ON b.e = c.e)"
)


def _copies(side: Side) -> str:
    return (
        "(SELECT rid, id, row_number() OVER (PARTITION BY id ORDER BY digest) AS n "
        "FROM (SELECT c.rid, c.digest, a.id FROM canonical_" + side + " AS c "
        "JOIN alike AS a ON c.e = a.e))"
    )


REPRESENTED = (
    "CREATE TABLE represented AS SELECT b.rid AS backup, c.rid AS current FROM "
    + _copies("backup") + " AS b JOIN " + _copies("current") + " AS c ON b.id = c.id AND b.n = c.n"
)  # fmt: skip

COUNT_REPRESENTED = "SELECT count(*) FROM represented"

DROP_REPRESENTED = {
    side: "DELETE FROM left_" + side + " WHERE rid IN (SELECT " + side + " FROM represented)"
    for side in SIDES
}

COUNT_LEFT = {side: "SELECT count(*) FROM left_" + side for side in SIDES}

RESULT = (
    'CREATE TABLE result (key VARCHAR, kind VARCHAR, "column" VARCHAR, backup VARCHAR, '
    "current VARCHAR)"
)

# Parameter: the names of the common columns.
RESULT_CHANGED = (
    "INSERT INTO result SELECT key, 'changed', (?::VARCHAR[])[i + 1], backup, current FROM judged "
    "WHERE difference = 'changed'"
)

# Parameters: labels of the side's columns in the table's order, their 1-based places in the row.
RESULT_ONE_SIDED = {
    "backup": (
        "INSERT INTO result SELECT key, 'missing', '', "
        "json_row($1::VARCHAR[], list_select(bv || brest, $2::BIGINT[])), NULL FROM pair "
        "WHERE cv IS NULL"
    ),
    "current": (
        "INSERT INTO result SELECT key, 'extra', '', NULL, "
        "json_row($1::VARCHAR[], list_select(cv || crest, $2::BIGINT[])) FROM pair "
        "WHERE bv IS NULL"
    ),
}


def result_left(side: Side) -> str:
    """Left rows, named by digest and copy (parameters: as of `RESULT_ONE_SIDED`)."""
    kind, values = ("missing", "text, NULL") if side == "backup" else ("extra", "NULL, text")
    return (
        "INSERT INTO result SELECT '{\"#row\":\"' || digest || '\",\"#n\":\"' || "
        "row_number() OVER (PARTITION BY digest) || '\"}', '" + kind + "', '', " + values + " "
        "FROM ("
        "SELECT text, sha256(text) AS digest FROM ("
        "SELECT json_row($1::VARCHAR[], list_select(v || rest, $2::BIGINT[])) AS text FROM left_"
        + side + "))"
    )  # fmt: skip


RESULT_BYTES = (
    "SELECT coalesce(sum(strlen(key) + coalesce(strlen(backup), 0) + coalesce(strlen(current), 0))"
    "::BIGINT, 0) FROM result"
)

# Wide rows are not sorted here: sorting them needs memory in proportion to their size. Their
# places are, which are narrow, and the rows then fall into shares of a bounded size (parameter),
# of which each is sorted when it is stored.
SHARES = (
    'CREATE TABLE shares AS SELECT place, (sum(bytes) OVER (ORDER BY key, kind, "column" '
    "ROWS UNBOUNDED PRECEDING) // ?)::BIGINT AS share FROM (SELECT rowid AS place, key, kind, "
    '"column", strlen(key) + coalesce(strlen(backup), 0) + coalesce(strlen(current), 0) AS bytes '
    "FROM result)"
)

SHARE_SETTINGS = ("SET threads = 1", "SET partitioned_write_flush_threshold = 2048")

WRITE_RESULT = "COPY result TO ? (FORMAT parquet, ROW_GROUP_SIZE 2048)"

# Parameter: a folder. Small row groups, because a cell may hold megabytes.
WRITE_SHARES = (
    "COPY (SELECT r.*, s.share FROM result AS r JOIN shares AS s ON r.rowid = s.place) TO ? "
    "(FORMAT parquet, PARTITION_BY (share), ROW_GROUP_SIZE 2048)"
)

FORGET_DIVERGENCES = "DELETE FROM divergence"

# Parameters: the table's name, the files. No two rows agree in what is sorted by.
KEEP_RESULT = (
    'INSERT INTO divergence ("table", key, kind, "column", backup, current) '
    'SELECT ?, key, kind, "column", backup, current '
    'FROM read_parquet(?::VARCHAR[], hive_partitioning=false) ORDER BY key, kind, "column"'
)

# 0 when the rows lie in order already, as a comparison leaves them.
OUT_OF_ORDER = (
    "SELECT count(*) FROM (SELECT (t, key, kind, c) < lag((t, key, kind, c)) OVER (ORDER BY place) "
    'AS before FROM (SELECT rowid AS place, "table" AS t, key, kind, "column" AS c '
    "FROM divergence)) WHERE before"
)

# Parameter: the file.
_COPY = "COPY (%) TO ? (FORMAT parquet, COMPRESSION zstd, PRESERVE_ORDER true)"
_DIVERGENCES = 'SELECT "table", key, kind, "column", backup, current FROM divergence'
WRITE_DIVERGENCES = _COPY.replace("%", _DIVERGENCES)
SORT_DIVERGENCES = _COPY.replace("%", _DIVERGENCES + ' ORDER BY "table", key, kind, "column"')


def _list(terms: Sequence[str]) -> str:
    return "[" + ", ".join(terms) + "]::VARCHAR[]"


def _key_text(parts: Sequence[str]) -> str:
    """One text per key; of several parts each is preceded by its length, so that shifted
    boundaries can never make two keys one. NULL when any part is."""
    if not parts:
        return "NULL::VARCHAR"
    if len(parts) == 1:
        return parts[0]
    return " || ".join("strlen(" + part + ") || ':' || " + part for part in parts)
