"""Looks taken while a history is replayed once: rows as an act finds them, and what it would have
written with another text. They tell at the price of a statement which suppositions are worth a
history of their own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from diffing.model import Schema, Table
from recovery.localize.scene import Scene
from recovery.localize.statement import Target, returning, targets
from recovery.model import Act, History, Variant

END = "~end"  # looks at this act are taken at the end of the history

# Where no later act wrote again: cells that the variant explains, and cells that it gets wrong.
_CELLS = """
SELECT count(*) FILTER (r.key IS NOT NULL AND r.current IS NOT DISTINCT FROM v.value),
       count(*) FILTER (r.key IS NULL AND v.value IS DISTINCT FROM
           CASE WHEN f.key IS NOT NULL THEN f.value ELSE o.value END)
FROM sketch v
JOIN sketch o ON o.variant = $before AND o.key = v.key AND o."column" = v."column"
LEFT JOIN finals f ON f."table" = v."table" AND f.key = v.key AND f."column" = v."column"
LEFT JOIN residue r ON r."table" = v."table" AND r.key = v.key AND r."column" = v."column"
LEFT JOIN residue w ON w."table" = v."table" AND w.key = v.key AND w."column" = ''
WHERE v.variant = $variant AND coalesce(f.place, 0) <= $place AND w.key IS NULL
"""
_GONE = """
SELECT count(*) FILTER (r.key IS NOT NULL),
       count(*) FILTER (r.key IS NULL AND coalesce(f.there, true))
FROM sketch v
LEFT JOIN finals f ON f."table" = v."table" AND f.key = v.key AND f."column" = ''
LEFT JOIN residue r ON r.kind = 'missing' AND r."table" = v."table" AND r.key = v.key
WHERE v.variant = $variant AND coalesce(f.place, 0) <= $place
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """How a variant looks beside the current state, at first sight."""

    hits: int
    misses: int

    @property
    def worth_trying(self) -> bool:
        return self.hits > 0 and self.misses <= self.hits


def aim(text: str, schema: Schema) -> Target | None:
    """The one table that an UPDATE or DELETE changes, if it has a key to name rows by."""
    found = targets(text, schema)
    if len(found) != 1 or found[0].op == "insert":
        return None
    table = schema.table(found[0].table)
    known = {column.name for column in table.columns}
    return found[0] if table.key.columns and found[0].columns <= known else None


def before(act: Act, place: int, table: Table, columns: tuple[str, ...]) -> Variant:
    """These columns of all rows of the table, as the `place`-th statement of the act finds them."""
    shown = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(column)
        )
        for column in (*table.key.columns, *columns)
    )
    text = sql.SQL("SELECT {} FROM {}").format(shown, sql.Identifier(table.schema, table.relation))
    name = f"{act.id}/{place}/before {table.name} {' '.join(columns)}"
    return Variant(name, act.id, place, text.as_string(None), table.name, columns)


def with_end(history: History) -> History:
    """The history with an act behind all others that does nothing: looks can be taken there."""
    at = history[-1].at if history else datetime(2000, 1, 1, tzinfo=UTC)
    return (*history, Act(END, ("SELECT",), at))


def instead(act: Act, place: int, text: str, aimed: Target, schema: Schema) -> Variant:
    """What the act would have written with `text` in the place of its `place`-th statement: an
    UPDATE's columns, or, of a DELETE, which rows."""
    table = schema.table(aimed.table)
    columns = tuple(sorted(aimed.columns))
    told = returning(text, (*table.key.columns, *columns))
    return Variant(f"{act.id}/{place}/{text}", act.id, place, told, table.name, columns)


def sight(scene: Scene, act: Act, variant: Variant) -> Sight:
    """A variant of `instead` beside the current state. The look `before` must have been asked
    for as well, with the variant's columns."""
    names: dict[str, object] = {"variant": variant.id, "place": scene.place(act.id)}
    if variant.columns:
        table = scene.schema.table(variant.table)
        old = before(act, variant.place, table, variant.columns)
        row = scene.facts.execute(_CELLS, names | {"before": old.id}).fetchone()
    else:
        row = scene.facts.execute(_GONE, names).fetchone()
    assert row is not None
    return Sight(int(row[0]), int(row[1]))
