"""Two runs as a forecast: what one history would leave that the other does not.

Fills the relation `forecast` (see `recovery.model.Forecast`). Cost is that of what the two runs
wrote, whatever the size of the database.
"""

import duckdb

_RELATION = """
CREATE TEMP TABLE IF NOT EXISTS forecast (
    name VARCHAR NOT NULL, "table" VARCHAR NOT NULL, key VARCHAR NOT NULL,
    "column" VARCHAR NOT NULL, base VARCHAR, value VARCHAR, act VARCHAR)
"""

# What each run did to a cell in the end. Where a run wrote nothing, the cell is as it was at the
# start, which the other run saw before it wrote.
_FILL = """
INSERT INTO forecast
WITH net AS (
    SELECT run, "table", key, "column",
           first(old ORDER BY ordinal) FILTER (op <> 'insert') AS start,
           last(new ORDER BY ordinal) AS final,
           first(op ORDER BY ordinal) AS first_op, last(op ORDER BY ordinal) AS last_op,
           last(step ORDER BY ordinal) AS act
    FROM effect WHERE run IN ($base, $deviant) AND NOT starts_with(key, '{"#row":')
    GROUP BY run, "table", key, "column"),
side AS (
    SELECT "table", key, "column", b.key IS NOT NULL AS in_base, d.key IS NOT NULL AS in_deviant,
           coalesce(b.first_op, d.first_op) = 'insert' AS came,
           b.last_op AS b_op, d.last_op AS d_op,
           CASE WHEN b.key IS NOT NULL THEN b.final ELSE d.start END AS base,
           CASE WHEN d.key IS NOT NULL THEN d.final ELSE b.start END AS value,
           coalesce(d.act, b.act) AS act
    FROM (FROM net WHERE run = $base) b
    FULL JOIN (FROM net WHERE run = $deviant) d USING ("table", key, "column")),
there AS (
    SELECT "table", key, act, coalesce(b_op = 'insert', NOT came) AS base,
           coalesce(d_op = 'insert', NOT came) AS value
    FROM side WHERE "column" = '')
SELECT $name, s."table", s.key, s."column", s.base, s.value, s.act
FROM side s LEFT JOIN there r ON r."table" = s."table" AND r.key = s.key
WHERE s."column" <> '' AND s.base IS DISTINCT FROM s.value AND coalesce(r.base AND r.value, true)
UNION ALL
SELECT $name, "table", key, '', base::VARCHAR, value::VARCHAR, act FROM there WHERE base <> value
"""

# Equal rows without a key are told apart by a number alone, and the same number may be that of a
# row that went in one run and of one more that came in the other: they are counted.
_FILL_KEYLESS = """
INSERT INTO forecast
WITH net AS (
    SELECT run, "table", json_extract_string(key, '$."#row"') AS row,
           sum(CASE op WHEN 'insert' THEN 1 ELSE -1 END)::BIGINT AS come,
           last(step ORDER BY ordinal) AS act
    FROM effect WHERE run IN ($base, $deviant) AND starts_with(key, '{"#row":') AND "column" = ''
    GROUP BY ALL),
side AS (
    SELECT "table", row, coalesce(d.come, 0) - coalesce(b.come, 0) AS more,
           coalesce(d.act, b.act) AS act
    FROM (FROM net WHERE run = $base) b
    FULL JOIN (FROM net WHERE run = $deviant) d USING ("table", row))
SELECT $name, "table", '{"#row":"' || row || '","#n":"' || unnest(range(1, abs(more) + 1)) || '"}',
       '', (more < 0)::VARCHAR, (more > 0)::VARCHAR, act
FROM side WHERE more <> 0
"""


def clear(facts: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make the relation where it is not there yet, without rows of this name."""
    make(facts)
    facts.execute("DELETE FROM forecast WHERE name = ?", [name])


def make(facts: duckdb.DuckDBPyConnection) -> None:
    """Make the relation where it is not there yet."""
    facts.execute(_RELATION)


def lay(facts: duckdb.DuckDBPyConnection, base: str, deviant: str, name: str) -> None:
    """Fill `forecast` under `name` with what the run `deviant` leaves and `base` does not."""
    clear(facts, name)
    for fill in (_FILL, _FILL_KEYLESS):
        facts.execute(fill, {"base": base, "deviant": deviant, "name": name})
