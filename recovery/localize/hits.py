"""Which rows did a statement hit? Rows as it finds them in the replay, with what it would write
into each, beside the current state: a row that holds what would have been written was hit, one
that holds what was there before was not, and of any other nothing is said.

verge   the rows near a statement's WHERE (those that it takes, or would take if one condition were
        another): key, member (the WHERE takes it), hit, shown (JSON, see `_layout`), position (in
        the order of the key)
compared  per value that one condition compares: rank (in the database's own order), value, less and
        equal (than the logged constant), how many rows there are and what was done to them; only
        rows about which the condition alone decides: it would have had to hold for `held` rows
        and not to hold for `failed`; of these it was not to hold for `extra` and to hold for
        `kept`, as the log has it
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from diffing.model import Column, Schema
from recovery.localize.aims import (
    alias,
    select_like,
    set_expressions,
)
from recovery.localize.conditions import Sample
from recovery.localize.looks import aim
from recovery.localize.predicates import (
    Condition,
    conditions,
    where_text,
    where_with,
)
from recovery.localize.scene import Scene
from recovery.localize.statement import Target
from recovery.model import Act, Variant

SEEN = "~seen"
MEMBER = "~"  # before the names of columns that a look at members shows, whose moments are in UTC
_PER_CONDITION = 6
_LEFT_MAX, _BESIDE_MAX = 12, 6  # acts that are looked at
_MEMBERS_MAX = 4000  # members that are looked at, of many; a trial judges all of them

_VERGE = """
CREATE OR REPLACE TEMP TABLE verge AS
WITH seen AS (SELECT key, try_cast(value AS JSON) AS shown FROM sketch WHERE variant = $variant),
listed AS (
    SELECT unnest($columns::VARCHAR[]) AS name, generate_subscripts($columns::VARCHAR[], 1) AS n),
cells AS (
    SELECT s.key, CASE WHEN r.key IS NOT NULL THEN r.current WHEN f.key IS NOT NULL THEN f.value
                       ELSE b.value END AS current, b.value AS before, w.value AS would
    FROM seen s, listed c, LATERAL (SELECT shown ->> ('$[' || (2 * c.n - 1) || ']') AS value) b,
         LATERAL (SELECT shown ->> ('$[' || (2 * c.n) || ']') AS value) w
    LEFT JOIN finals f ON f."table" = $table AND f.key = s.key AND f."column" = c.name
    LEFT JOIN residue r ON r."table" = $table AND r.key = s.key AND r."column" = c.name
    WHERE coalesce(f.place, 0) <= $place
      AND NOT EXISTS (FROM unstable u WHERE u."table" = $table AND u."column" = c.name)),
judged AS (
    SELECT key, bool_or(current IS NOT DISTINCT FROM would) AS hit,
           bool_or(current IS NOT DISTINCT FROM before) AS missed,
           bool_and(current IS NOT DISTINCT FROM would OR current IS NOT DISTINCT FROM before)
               AS clear
    FROM cells WHERE before IS DISTINCT FROM would GROUP BY key)
SELECT s.key, (s.shown ->> '$[0]') = 't' AS member, j.hit, s.shown,
       (s.shown ->> '$[#-1]')::BIGINT AS position
FROM seen s JOIN judged j USING (key)
LEFT JOIN residue gone ON gone."table" = $table AND gone.key = s.key AND gone."column" = ''
WHERE j.clear AND j.hit <> j.missed AND gone.key IS NULL
"""

# Of a DELETE: a row that is gone was hit.
_VERGE_OF_ROWS = """
CREATE OR REPLACE TEMP TABLE verge AS
WITH seen AS (SELECT key, try_cast(value AS JSON) AS shown FROM sketch WHERE variant = $variant)
SELECT s.key, (s.shown ->> '$[0]') = 't' AS member,
       CASE r.kind WHEN 'missing' THEN true WHEN 'extra' THEN false
            ELSE NOT coalesce(f.there, true) END AS hit, s.shown,
       (s.shown ->> '$[#-1]')::BIGINT AS position
FROM seen s
LEFT JOIN finals f ON f."table" = $table AND f.key = s.key AND f."column" = ''
LEFT JOIN residue r ON r."table" = $table AND r.key = s.key AND r."column" = ''
WHERE coalesce(f.place, 0) <= $place
"""

_VALUES = """
CREATE OR REPLACE TEMP TABLE compared AS
WITH near AS (
    SELECT member, hit, (shown ->> ('$[' || $at || ']')) AS value,
           (shown ->> ('$[' || ($at + 1) || ']'))::BIGINT AS rank,
           (shown ->> ('$[' || ($at + 2) || ']')) = 't' AS less,
           (shown ->> ('$[' || ($at + 3) || ']')) = 't' AS equal,
           coalesce((shown ->> ('$[' || ($at + 4) || ']')) = 't', false) AS with_it,
           coalesce((shown ->> ('$[' || ($at + 5) || ']')) = 't', false) AS without_it
    FROM verge)
SELECT rank, any_value(value) AS value, bool_or(less) AS less, bool_or(equal) AS equal,
       count(*) FILTER (hit = with_it) AS held, count(*) FILTER (hit <> with_it) AS failed,
       count(*) FILTER (hit = with_it AND member <> with_it) AS extra,
       count(*) FILTER (hit <> with_it AND member = with_it) AS kept
FROM near WHERE with_it <> without_it AND value IS NOT NULL
GROUP BY rank
"""

# Acts that wrote cells of columns, or rows of tables, that hold something unexplained; whether it
# is in what they wrote themselves. First those of which the most is as it was before them.
_IN_QUESTION = """
WITH own AS (
    SELECT act, count(*) AS cells, count(*) FILTER (kind <> 'changed') AS kept
    FROM residue WHERE act <> '' GROUP BY act),
wrote AS (
    SELECT e.step AS act, count(*) AS cells
    FROM effect e JOIN (SELECT DISTINCT "table", "column" FROM residue) r
      ON r."table" = e."table" AND r."column" = e."column"
    WHERE e.run = $run GROUP BY e.step)
SELECT act, own.act IS NOT NULL FROM own FULL JOIN wrote USING (act)
ORDER BY coalesce(own.kept, 0) DESC, coalesce(own.cells, 0) DESC, wrote.cells DESC, act
"""
_HEARD = """
SELECT EXISTS (FROM complaint WHERE NOT fine AND NOT answered)
    OR EXISTS (FROM unstable u JOIN residue r ON r."table" = u."table")
"""

_MEMBERS = """
WITH chosen AS (SELECT key, hit FROM verge WHERE member ORDER BY hash(key), key LIMIT $most)
SELECT any_value(c.hit), list(s.value ORDER BY list_position($names::VARCHAR[], s."column"))
FROM chosen c JOIN sketch s ON s.variant = $variant AND s.key = c.key
GROUP BY c.key ORDER BY c.key
"""


@dataclass(frozen=True, slots=True)
class Look:
    """A statement of an act, and the conditions of its WHERE."""

    act: Act
    place: int
    text: str
    aimed: Target
    conditions: tuple[Condition, ...]
    expressions: tuple[tuple[str, str], ...]  # what it sets

    def variant(self, schema: Schema) -> Variant:
        name = f"{self.act.id}/{self.place}/verge"
        return Variant(name, self.act.id, self.place, _select(self, schema), self.aimed.table,
                       (SEEN,))  # fmt: skip

    def members(self, schema: Schema) -> Variant:
        """All columns of the rows that the WHERE takes, as the statement finds them."""
        table = schema.table(self.aimed.table)
        called = alias(self.text)
        shown = [
            _text(sql.Identifier(called, column.name), column).as_string(None)
            for column in (*table.key_columns, *table.columns)
        ]
        text = select_like(self.text, ", ".join(shown), where_text(self.text))
        name = f"{self.act.id}/{self.place}/members"
        columns = tuple(f"{MEMBER}{column.name}" for column in table.columns)
        return Variant(name, self.act.id, self.place, text, table.name, columns)


def in_question(scene: Scene) -> Sequence[Act]:
    """Acts that may have hit other rows than the log says, the likeliest first: something is not
    as they should have left it; or, when anything but that could speak for it, they wrote to
    columns that hold something unexplained. A few of each: a look costs a pass over a table."""
    doubted = {act.id: (act, step) for act, step in scene.doubted() if act.statements}
    rows = scene.facts.execute(_IN_QUESTION, {"run": scene.base.run}).fetchall()
    known = [(*doubted[str(name)], bool(own)) for name, own in rows if str(name) in doubted]
    known.sort(key=lambda one: not one[1].suspect)
    ran = {one.step: one.rows for one in scene.base.outcomes}
    heard = scene.facts.execute(_HEARD).fetchone()
    anything = scene.log.complete or bool(scene.log.covered) or heard == (True,)
    left = [act for act, _, own in known if own]
    beside = [
        act
        for act, step, own in known
        if not own and (anything or step.suspect or step.rows not in (None, ran.get(act.id)))
    ]
    return (*left[:_LEFT_MAX], *beside[:_BESIDE_MAX])


def looks(scene: Scene) -> Iterator[Look]:
    """Statements that may have hit other rows than the log says: something in what they write is
    otherwise than it should be."""
    for act in in_question(scene):
        for place, text in enumerate(act.statements):
            aimed = aim(text, scene.schema)
            if aimed is not None and scene.left(aimed.table, aimed.columns):
                expressions = set_expressions(text)
                if {name for name, _ in expressions} == aimed.columns:
                    yield Look(act, place, text, aimed, conditions(text), expressions)


def lay_verge(scene: Scene, look: Look) -> bool:
    """Make the relation `verge`; whether it has any row. The look must have been taken."""
    names: dict[str, object] = {
        "variant": look.variant(scene.schema).id,
        "table": look.aimed.table,
        "place": scene.place(look.act.id),
    }
    if look.aimed.op == "delete":
        scene.facts.execute(_VERGE_OF_ROWS, names)
    else:
        columns = [name for name, _ in look.expressions]
        scene.facts.execute(_VERGE, names | {"columns": columns})
    row = scene.facts.execute("SELECT count(*) FROM verge").fetchone()
    assert row is not None
    return int(row[0]) > 0


def lay_compared(scene: Scene, look: Look, condition: Condition) -> None:
    """Make the relation `compared` of this condition, from `verge`."""
    compared = [one for one in look.conditions if one.kind != "other"]
    at = 1 + 2 * len(look.expressions) + _PER_CONDITION * compared.index(condition)
    scene.facts.execute(_VALUES, {"at": at})


def members(scene: Scene, look: Look) -> Sample:
    """Members that were hit, and those that were not; `verge` is that of the look."""
    table = scene.schema.table(look.aimed.table)
    variant = look.members(scene.schema)
    rows = scene.facts.execute(
        _MEMBERS, {"variant": variant.id, "names": list(variant.columns), "most": _MEMBERS_MAX}
    ).fetchall()
    return Sample(table.columns, [row[1] for row in rows], [bool(row[0]) for row in rows])


def _select(look: Look, schema: Schema) -> str:
    table = schema.table(look.aimed.table)
    called = alias(look.text)
    shown = [
        _text(sql.Identifier(called, column.name), column).as_string(None)
        for column in table.key_columns
    ]
    near = [where_text(look.text)]
    for condition in look.conditions:
        near += [where_with(look.text, condition, holds=way) for way in (True, False)]
    array = sql.SQL(", ").join(_layout(look, schema, called)).as_string(None)
    shown.append(f"pg_catalog.to_json(ARRAY[{array}]::text[])::text")
    return select_like(look.text, ", ".join(shown), " OR ".join(f"({one})" for one in near))


def _layout(look: Look, schema: Schema, called: str) -> Iterator[sql.Composable]:
    """What is shown of a row: whether the WHERE takes it; per column that is set what is there
    before and what would be; per condition that compares: the value, its rank, whether it is
    less than the logged constant, or equal to it, and whether the row is taken with the
    condition true, and with the condition false; and last where it is in the order of the key."""
    table = schema.table(look.aimed.table)
    known = {column.name: column for column in table.columns}
    yield _truth(where_text(look.text))
    for name, expression in look.expressions:
        column = known[name]
        yield _text(sql.Identifier(called, name), column)
        cast = sql.SQL("CAST(({}) AS {})").format(sql.SQL(expression), sql.SQL(column.type))
        yield _text(cast, column)
    for condition in look.conditions:
        if condition.kind == "other":
            continue
        left = sql.SQL("({})").format(sql.SQL(condition.left))
        yield _text(left, known.get(condition.column))
        yield sql.SQL("(pg_catalog.dense_rank() OVER (ORDER BY {}))::text").format(left)
        for operator in ("<", "="):
            compared = sql.SQL("{} {} {}").format(left, sql.SQL(operator), _constant(condition))
            yield sql.SQL("CASE WHEN {} THEN 't' ELSE 'f' END").format(compared)
        for way in (True, False):
            yield _truth(where_with(look.text, condition, holds=way))
    key = sql.SQL(", ").join(sql.Identifier(called, name) for name in table.key.columns)
    yield sql.SQL("(pg_catalog.row_number() OVER (ORDER BY {}))::text").format(key)


def _constant(condition: Condition) -> sql.Composable:
    """The first constant, as the statement has it: a number bare, anything else quoted."""
    text = condition.constants[0]
    return sql.SQL(text) if condition.number else sql.Literal(text)


def _truth(expression: str) -> sql.Composable:
    return sql.SQL("CASE WHEN {} THEN 't' ELSE 'f' END").format(sql.SQL(expression))


def _text(value: sql.Composable, column: Column | None) -> sql.Composable:
    """A value as text, like everywhere: moments in UTC."""
    if column is not None and column.family == "timestamptz":
        value = sql.SQL("(({} AT TIME ZONE 'UTC')::text || '+00')").format(value)
    return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(value)
