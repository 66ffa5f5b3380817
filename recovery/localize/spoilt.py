"""What a look shows that a function makes of values, beside the current state.

Relation of the case database: spoilt (variant, "table", key, "column", value, current, fate), of
cells that the function changes; value is what it makes of them, fate says what is there

hit      just that
kept     the value itself
edited   something else
"""

import json
from collections.abc import Sequence

from recovery.localize.scene import Scene

_SPOILT = """
CREATE TEMP TABLE IF NOT EXISTS spoilt (
    variant VARCHAR, "table" VARCHAR, key VARCHAR, "column" VARCHAR, value VARCHAR,
    current VARCHAR, fate VARCHAR)
"""
# What is unstable is in no residue: there the divergence tells. Where an act wrote such a cell,
# only its very time, moved or not, says what became of it; of any other the log does not tell.
_SORT = """
INSERT INTO spoilt
WITH shown AS (
    SELECT d.key, json_extract_string(d.current, $path) AS current FROM divergence d
    WHERE d.kind = 'extra' AND d."table" = $table),
written AS (
    SELECT f.key, f.value, CASE WHEN d.key IS NOT NULL THEN d.current WHEN f.came THEN s.current
           ELSE f.start END AS current
    FROM finals f
    JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
    ANTI JOIN steady y ON y."table" = f."table" AND y.key = f.key AND y."column" = f."column"
    LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = f."table" AND d.key = f.key
         AND d."column" = f."column"
    LEFT JOIN shown s ON s.key = f.key
    WHERE f."table" = $table AND f."column" = $column),
found AS (
    SELECT key, current FROM residue WHERE "table" = $table AND "column" = $column
    UNION
    SELECT d.key, d.current FROM divergence d
    JOIN unstable u ON u."table" = d."table" AND u."column" = d."column"
    ANTI JOIN finals f ON f."table" = d."table" AND f.key = d.key AND f."column" = d."column"
    WHERE d.kind = 'changed' AND d."table" = $table AND d."column" = $column
    UNION
    SELECT key, current FROM written WHERE current IS DISTINCT FROM value)
SELECT s.variant, s."table", s.key, s."column", s.value, f.current,
       CASE WHEN f.key IS NULL THEN 'kept'
            WHEN f.current IS NOT DISTINCT FROM s.value THEN 'hit' ELSE 'edited' END
FROM sketch s LEFT JOIN found f ON f.key = s.key LEFT JOIN written w ON w.key = s.key
ANTI JOIN (FROM residue WHERE "table" = $table AND "column" = '') gone ON gone.key = s.key
WHERE s.variant = $variant AND s."column" = $column
  AND (w.key IS NULL OR w.current IN (w.value, s.value))
"""


def begin(scene: Scene, variant: str) -> None:
    """No cell is sorted yet for this look."""
    scene.facts.execute(_SPOILT)
    scene.facts.execute("DELETE FROM spoilt WHERE variant = ?", [variant])


def sort(scene: Scene, variant: str, table: str, column: str) -> None:
    """Sort the cells of one column that this look shows."""
    begin(scene, variant)
    path = "$." + json.dumps(column, ensure_ascii=False)
    names = {"variant": variant, "table": table, "column": column, "path": path}
    scene.facts.execute(_SORT, names)


def last_written(scene: Scene, variants: Sequence[str]) -> int:
    """The place of the last act that wrote one of the cells that these looks hit."""
    row = scene.facts.execute(
        """SELECT coalesce(max(f.place), 0) FROM finals f JOIN spoilt s
          ON s."table" = f."table" AND s.key = f.key AND s."column" = f."column"
        WHERE s.fate = 'hit' AND list_contains(?::VARCHAR[], s.variant)""",
        [list(variants)],
    ).fetchone()
    assert row is not None
    return int(row[0])
