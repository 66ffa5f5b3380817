"""Values from other backups: of what a fault overwrote or deleted and nothing shows any more, the
newest backup from before the fault holds the last copy.

It is a copy, no proof: somebody may have changed the value between that backup and the fault. It
is nearer all the same than the backup that the log starts from, and it may hold rows that came and
went between the two.
"""

from datetime import UTC, datetime

import duckdb

# The newest backup from before the fault that tells of a column; the first one is told by default.
_NEWEST = """
CREATE OR REPLACE TEMP TABLE newest AS
SELECT t."table", t."column", last(b.backup ORDER BY b.taken_at) AS backup
FROM earlier_backup b JOIN earlier_told t ON t.backup = b.backup
WHERE b.taken_at < $fault
  AND b.taken_at > (SELECT taken_at FROM earlier_backup WHERE backup = 'backup')
GROUP BY t."table", t."column"
"""

# Cells that no step of the log had changed before the fault.
_CELLS = """
UPDATE damage SET grade = 'derived', target = found.value FROM (
    SELECT d.rowid AS place, CASE WHEN e.key IS NOT NULL THEN e.value ELSE d.backup END AS value
    FROM damage d JOIN newest n ON n."table" = d."table" AND n."column" = d."column"
    LEFT JOIN earlier e ON e.backup = n.backup AND e."table" = d."table" AND e.key = d.key
         AND e."column" = d."column"
    LEFT JOIN earlier gone ON gone.backup = n.backup AND gone."table" = d."table"
         AND gone.key = d.key AND gone."column" = ''
    WHERE d.fault = $name AND d.grade = 'stale' AND d."column" <> ''
      AND d.target IS NOT DISTINCT FROM d.backup AND gone.key IS NULL) found
WHERE damage.rowid = found.place AND ($known OR found.value IS DISTINCT FROM damage.current)
"""

# Rows of the backup that the fault deleted, with what they held then.
_ROWS = """
UPDATE damage SET grade = 'derived', target = found.value FROM (
    SELECT d.rowid AS place, '{' || string_agg(to_json(l."column")::VARCHAR || ':' || coalesce(
               to_json(CASE WHEN e.key IS NOT NULL THEN e.value
                            ELSE json_extract_string(j.value, '$') END)::VARCHAR, 'null'),
               ',' ORDER BY l.position) || '}' AS value
    FROM damage d
    JOIN newest n ON n."table" = d."table" AND n."column" = ''
    JOIN layout l ON l."table" = d."table",
    json_each(d.target) j
    LEFT JOIN earlier e ON e.backup = n.backup AND e."table" = d."table" AND e.key = d.key
         AND e."column" = l."column"
    WHERE d.fault = $name AND d.grade = 'stale' AND d."column" = '' AND j.key = l."column"
      AND d.target IS NOT DISTINCT FROM d.backup AND d.target IS NOT NULL
      AND (n.backup, d."table", d.key, '') NOT IN (
          SELECT (backup, "table", key, "column") FROM earlier)
    GROUP BY d.rowid) found
WHERE damage.rowid = found.place
"""


def put_last_good(
    facts: duckdb.DuckDBPyConnection, name: str, at: datetime, *, known: bool
) -> None:
    """Give stale cells and rows of the fault `name`, which happened `at`, the value of the newest
    backup from before it. Backups whose age is not known tell nothing here; where the time of the
    fault is not `known`, those that have today's value may have been taken after it."""
    moment = at.astimezone(UTC).isoformat()
    facts.execute(_NEWEST, {"fault": moment})
    facts.execute(_CELLS, {"name": name, "known": known})
    facts.execute(_ROWS, {"name": name})
