"""What the history does not explain, gathered: cells and rows that one act of somebody who wrote
nothing down could have made as they are; and the rows around them, from which such a cluster has
to be told.

Relation of the case database: clustered (cluster, "table", key, "column").
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from psycopg import sql

from diffing.model import Column, Table
from recovery.localize.by_key import among
from recovery.localize.conditions import Sample
from recovery.localize.looks import END
from recovery.localize.scene import Scene
from recovery.localize.statement import Target
from recovery.model import Variant

Signature = Literal["value", "difference", "ratio", "gone", "added"]

ROWS_MIN = 2  # one row alone is no cluster
_MAPPED_MIN = 3  # rows that must agree on a difference or a ratio
_MAPPED_SHARE = 0.2  # of the cells of the column that are not explained
_LISTED_MAX = 5000  # rows that a look names one by one
_SAMPLE = 20_000  # other rows that are looked at beside them
_WHOLE = 300_000
_OPAQUE = ("json", "tsvector", "array", "composite", "range")

_RELATION = """
CREATE OR REPLACE TEMP TABLE clustered (
    cluster INTEGER, "table" VARCHAR, key VARCHAR, "column" VARCHAR)
"""
_NUMBERS = """
CREATE OR REPLACE TEMP TABLE unexplained AS
SELECT "table", key, "column", predicted, current,
       try_cast(predicted AS DECIMAL(38, 9)) AS p, try_cast(current AS DECIMAL(38, 9)) AS c,
       length(split_part(current, '.', 2)) AS scale
FROM residue WHERE kind = 'changed' AND list_contains($tables::VARCHAR[], "table")
"""
_VALUES = """
SELECT "table", "column", current, count(*) FROM unexplained
GROUP BY ALL HAVING count(*) >= $least ORDER BY ALL
"""
_DIFFERENCES = """
SELECT "table", "column", (c - p)::VARCHAR, count(*) FROM unexplained
WHERE p IS NOT NULL AND c IS NOT NULL AND c <> p
GROUP BY "table", "column", c - p HAVING count(*) >= $least AND count(DISTINCT p) >= 2 ORDER BY ALL
"""
# The shortest number that most cells agree on, up to the rounding of the column.
_RATIOS = """
WITH votes AS (
    SELECT "table", "column", digits, round(c::DOUBLE / p::DOUBLE, digits::INTEGER) AS ratio
    FROM unexplained, range(0, 5) t (digits) WHERE p <> 0 AND c <> 0 AND c <> p),
likely AS (
    SELECT "table", "column", digits, ratio FROM votes WHERE ratio NOT IN (0, 1)
    GROUP BY "table", "column", digits, ratio
    QUALIFY row_number() OVER (
        PARTITION BY "table", "column", digits ORDER BY count(*) DESC, ratio) <= 3),
fitting AS (
    SELECT l."table", l."column", l.digits, l.ratio, count(*) AS rows
    FROM likely l JOIN unexplained u ON u."table" = l."table" AND u."column" = l."column"
    WHERE p <> 0 AND c <> p AND abs(p * l.ratio - c) <= 0.5 * pow(10, -scale) + 1e-9
    GROUP BY ALL HAVING count(*) >= $least AND count(DISTINCT p) >= 2),
shortest AS (
    SELECT * FROM fitting QUALIFY row_number() OVER (
        PARTITION BY "table", "column", rows ORDER BY digits, ratio) = 1)
SELECT "table", "column", ratio::DECIMAL(38, 4)::VARCHAR, rows FROM shortest ORDER BY ALL
"""
_GONE = """
SELECT "table", '', NULL, count(*) FROM residue
WHERE kind = 'missing' AND list_contains($tables::VARCHAR[], "table")
GROUP BY "table" HAVING count(*) >= $least ORDER BY ALL
"""
# One statement, or one transaction, gives all its rows one moment, to the microsecond.
_ADDED = """
SELECT r."table", j.key, json_extract_string(j.value, '$') AS moment, count(*)
FROM residue r, json_each(r.current) j
WHERE r.kind = 'extra' AND list_contains($moments::VARCHAR[], r."table" || chr(31) || j.key)
  AND contains(json_extract_string(j.value, '$'), '.')
GROUP BY ALL HAVING count(*) >= $least ORDER BY ALL
"""
_MEMBERS: Mapping[str, str] = {
    "value": "current IS NOT DISTINCT FROM $constant",
    "difference": "c - p = $constant::DECIMAL(38, 9)",
    "ratio": "p <> 0 AND c <> p AND abs(p * $constant::DOUBLE - c) <= 0.5 * pow(10, -scale) + 1e-9",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`number` names its members in `clustered`. `constant` is the value, the difference or the
    ratio; of rows that came, the moment that all have in the column `since`."""

    number: int
    table: str
    column: str
    signature: Signature
    constant: str | None
    rows: int
    since: str = ""

    @property
    def target(self) -> Target:
        match self.signature:
            case "gone":
                return Target("delete", self.table, frozenset())
            case "added":
                return Target("insert", self.table, frozenset())
            case _:
                return Target("update", self.table, frozenset({self.column}))


def clusters(scene: Scene, tables: Iterable[str]) -> tuple[Cluster, ...]:
    """Clusters of what is not explained in these tables; their members are `clustered`."""
    facts = scene.facts
    facts.execute(_RELATION)
    keyed = [scene.schema.table(name) for name in sorted(tables)]
    keyed = [table for table in keyed if table.key.columns]
    if not keyed:
        return ()
    named: dict[str, object] = {"tables": [table.name for table in keyed]}
    facts.execute(_NUMBERS, named)
    moments = [
        f"{table.name}\x1f{column.name}"
        for table in keyed
        for column in table.columns
        if column.type.startswith("timestamp")
    ]
    asked: tuple[tuple[Signature, str, dict[str, object]], ...] = (
        ("value", _VALUES, {"least": ROWS_MIN}),
        ("difference", _DIFFERENCES, {"least": _MAPPED_MIN}),
        ("ratio", _RATIOS, {"least": _MAPPED_MIN}),
        ("gone", _GONE, {"least": ROWS_MIN} | named),
        ("added", _ADDED, {"least": ROWS_MIN, "moments": moments}),
    )
    found: list[Cluster] = []
    for signature, query, names in asked:
        for table, column, constant, rows in facts.execute(query, names).fetchall():
            since = str(column) if signature == "added" else ""
            if signature in ("difference", "ratio"):
                constant = format(Decimal(constant).normalize(), "f")
            one = Cluster(
                len(found) + 1,
                str(table),
                "" if since else str(column),
                signature,
                constant,
                int(rows),
                since,
            )
            if _worth_it(scene, one):
                _gather(scene, one)
                found.append(one)
    return tuple(found)


def _worth_it(scene: Scene, one: Cluster) -> bool:
    """Columns that a statement can set; of differences and ratios those of a good share."""
    if not one.column:
        return True
    table = scene.schema.table(one.table)
    known = {column.name: column for column in table.columns}
    if one.column not in known or known[one.column].generated:
        return False
    left = scene.left(one.table, frozenset({one.column}))
    return one.signature == "value" or one.rows >= _MAPPED_SHARE * left


def _gather(scene: Scene, one: Cluster) -> None:
    """Keep the members."""
    names: dict[str, object] = {"cluster": one.number, "table": one.table}
    match one.signature:
        case "gone":
            source, test = "residue", "kind = 'missing'"
        case "added":
            source = "residue"
            test = "kind = 'extra' AND json_extract_string(current, $path) = $constant"
            names |= {"path": json_path(one.since), "constant": one.constant}
        case _:
            source = "unexplained"
            test = '"column" = $column AND '
            test += "current IS NULL" if one.constant is None else _MEMBERS[one.signature]
            names |= {"column": one.column}
            names |= {} if one.constant is None else {"constant": one.constant}
    scene.facts.execute(
        f'INSERT INTO clustered SELECT $cluster, "table", key, "column" FROM {source}'
        f' WHERE "table" = $table AND {test}',
        names,
    )


# --- the rows around a cluster ------------------------------------------------------------------


def surroundings(scene: Scene, cluster: Cluster) -> Variant:
    """The rows of the cluster and others of the table, as the history leaves them: a look."""
    table = scene.schema.table(cluster.table)
    columns = tuple(one.name for one in _plain(table))
    shown = sql.SQL(", ").join(_text(name) for name in (*table.key.columns, *columns))
    source = sql.Identifier(table.schema, table.relation)
    if cluster.rows > _LISTED_MAX:
        text = sql.SQL("SELECT {} FROM {} LIMIT {}").format(shown, source, sql.Literal(_WHOLE))
    else:
        text = sql.SQL("SELECT {} FROM {} ORDER BY {} DESC, {} LIMIT {}").format(
            shown,
            source,
            _listed(scene, table, cluster),
            sql.SQL("pg_catalog.md5(pg_catalog.concat_ws(',', {}))").format(
                sql.SQL(", ").join(sql.Identifier(name) for name in table.key.columns)
            ),
            sql.Literal(cluster.rows + _SAMPLE),
        )
    name = f"~around/{cluster.table}/{cluster.column}/{cluster.signature}/{cluster.constant}"
    return Variant(name, END, 0, text.as_string(None), table.name, columns)


def sample(scene: Scene, cluster: Cluster) -> Sample:
    """What the look at the surroundings saw. Rows where nobody could tell whether the cluster's
    act met them say nothing: a step wrote the cell, it differs for another reason, or it had the
    value already."""
    look = surroundings(scene, cluster)
    table = scene.schema.table(cluster.table)
    columns = _plain(table)
    names = {"variant": look.id, "table": cluster.table, "column": cluster.column}
    rows = scene.facts.execute(
        """WITH seen AS (
            SELECT key, map(list("column"), list(value)) AS cells FROM sketch
            WHERE variant = $variant GROUP BY key)
        SELECT s.cells, m.key IS NOT NULL, r.key IS NOT NULL OR f.key IS NOT NULL AND $column <> '',
               EXISTS (FROM complaint c WHERE NOT c.fine AND NOT c.answered
                       AND c."table" = $table AND c.key = s.key AND c."column" IN ('', $column))
        FROM seen s
        LEFT JOIN clustered m ON m.cluster = $cluster AND m.key = s.key
        LEFT JOIN (SELECT DISTINCT key FROM residue WHERE "table" = $table
                   AND "column" IN ('', $column)) r ON r.key = s.key
        LEFT JOIN finals f ON f."table" = $table AND f.key = s.key AND f."column" = $column
        ORDER BY length(s.key), s.key""",
        names | {"cluster": cluster.number},
    ).fetchall()
    shown: list[tuple[str | None, ...]] = []
    wanted: list[bool | None] = []
    named: set[int] = set()
    for place, (cells, member, silent, complained) in enumerate(rows):
        shown.append(tuple(cells[column.name] for column in columns))
        same = cluster.signature == "value" and cells.get(cluster.column) == cluster.constant
        wanted.append(True if member else None if silent or same else False)
        if member and complained:
            named.add(place)
    return Sample(columns, shown, wanted, frozenset(named))


def _plain(table: Table) -> tuple[Column, ...]:
    """Columns that a condition may name."""
    return tuple(one for one in table.columns if one.family not in _OPAQUE and one.type != "bytea")


def _text(column: str) -> sql.Composable:
    return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
        sql.Identifier(column)
    )


def _listed(scene: Scene, table: Table, cluster: Cluster) -> sql.Composable:
    """Whether a row is of the cluster."""
    rows = scene.facts.execute(
        "SELECT key FROM clustered WHERE cluster = ? ORDER BY length(key), key", [cluster.number]
    ).fetchall()
    return among(table, [str(key) for (key,) in rows])


def json_path(column: str) -> str:
    """Where a column's text stands in the JSON of a row."""
    return '$."' + column.replace("\\", "\\\\").replace('"', '\\"') + '"'


def overlap(scene: Scene, one: Cluster, other: Cluster) -> float:
    """The share of the rows of the larger one that are rows of both."""
    row = scene.facts.execute(
        """SELECT count(*) FROM clustered a JOIN clustered b USING ("table", key)
        WHERE a.cluster = ? AND b.cluster = ?""",
        [one.number, other.number],
    ).fetchone()
    assert row is not None
    return float(row[0]) / max(one.rows, other.rows)


def inserted(scene: Scene, table: Table, cluster: int) -> str:
    """The INSERT that puts the rows of a cluster there as they are now."""
    rows = scene.facts.execute(
        """SELECT r.current FROM clustered m
        JOIN residue r ON r."table" = m."table" AND r.key = m.key AND r."column" = ''
        WHERE m.cluster = ? ORDER BY length(m.key), m.key""",
        [cluster],
    ).fetchall()
    return insert_statement(table, [json.loads(row) for (row,) in rows])


def insert_statement(table: Table, rows: Sequence[Mapping[str, str | None]]) -> str:
    """One INSERT of whole rows, numbers of sequences and all."""
    columns = [one for one in table.columns if not one.generated]
    values = sql.SQL(", ").join(
        sql.SQL("({})").format(sql.SQL(", ").join(sql.Literal(row[one.name]) for one in columns))
        for row in rows
    )
    return (
        sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES {}")
        .format(
            sql.Identifier(table.schema, table.relation),
            sql.SQL(", ").join(sql.Identifier(one.name) for one in columns),
            values,
        )
        .as_string(None)
    )
