"""truncated-table: a table was emptied, with all that depends on it.

before:  all rows of the backup, and those that steps added
after:   none of them; rows that came later, if any

A statement of the log that lost its WHERE explains the same with fewer words and is preferred. A
table may have been emptied on purpose, so without a complaint, a suspect step or a complete log
this stays a question.
"""

import math
from collections.abc import Iterator

from psycopg import sql

from diffing.model import parts
from recovery.deviation import Insert
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.localize.structure import EMPTIED_ROWS_MIN
from recovery.localize.testimony import suspected
from recovery.messages import message
from recovery.model import Act, FaultClass

ACT = "~truncated-table"

# Tables of which no row is there that should have been when one of the missing was last written,
# and which act wrote it.
_EMPTIED = """
WITH lost AS (
    SELECT "table", count(*) AS rows, max(place) AS place FROM residue
    WHERE kind = 'missing' GROUP BY "table"),
came AS (
    SELECT f."table", count(*) FILTER (f.came AND f.there AND f.place <= l.place) AS more,
           count(*) FILTER (NOT f.came AND NOT f.there) AS fewer
    FROM finals f JOIN lost l USING ("table") WHERE f."column" = '' GROUP BY f."table")
SELECT l."table", l.place, l.rows
FROM lost l LEFT JOIN came c USING ("table") JOIN sizes s USING ("table")
WHERE l.rows >= $least AND l.rows = s.rows + coalesce(c.more, 0) - coalesce(c.fewer, 0)
ORDER BY l.rows DESC, l."table"
"""


def propose(scene: Scene) -> Iterator[Candidate]:
    """All emptied tables at once: one statement reaches them where they depend on each other."""
    rows = scene.facts.execute(_EMPTIED, {"least": EMPTIED_ROWS_MIN}).fetchall()
    if not rows or ACT in scene.taken:
        return
    tables = [str(table) for table, _, _ in rows]
    place = max(int(place) for _, place, _ in rows)
    if not scene.history:
        return
    said = (suspected(scene, table, (), None) for table in tables)
    step = next((one for one in said if one is not None), None)
    if step is not None:
        place = max(place, scene.place(step.id))
    after = scene.history[place - 1].id if place else ""
    at = scene.history[max(place - 1, 0)].at
    statement = sql.SQL("TRUNCATE {}").format(
        sql.SQL(", ").join(sql.Identifier(*parts(table)) for table in tables)
    )
    text = statement.as_string(None)
    yield Candidate(
        FaultClass.TRUNCATED_TABLE,
        step.id if step else "",
        ACT,
        (("tables", ", ".join(tables)),),
        text,
        (Insert(after, Act(ACT, (text,), at)),),
        (),
        8.0 + len(tables) * math.log2(max(len(scene.schema.tables), 2)),
        tuple(Target("delete", table, frozenset()) for table in tables),
        frozenset(),
    )


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    return witness.covered or witness.vouched or any(step.suspect for step in scene.log.steps)


def told(candidate: Candidate, score: Score) -> str:
    ((_, tables),) = candidate.parameters
    return message(
        "None of the rows that should be in {tables} is there: {hits} rows are gone",
        tables=tables,
        hits=score.hits,
    )


HYPOTHESIS = Hypothesis(FaultClass.TRUNCATED_TABLE, propose, told, admits=admits)
