"""What people say about something that the history does not explain: complaints, a step in words
that the customer suspects, and a log that says it holds every change.

Under a log with gaps, what nobody wrote down is somebody's work until people say otherwise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffing.model import Schema
from recovery.localize.clusters import Cluster
from recovery.localize.scene import Scene
from recovery.messages import message
from recovery.model import Alternative, Event, Step

# A complaint about a cell says nothing against the row that it is in.
_HEARD = """
WITH met AS (
    SELECT c.number, c.fine, c.has_value AND m."column" = c."column" AND c."column" <> '' AS given,
           r.predicted IS NOT DISTINCT FROM c.should_be OR try_cast(r.predicted AS DECIMAL(38, 9))
               = try_cast(c.should_be AS DECIMAL(38, 9)) AS same
    FROM complaint c
    JOIN clustered m ON m.cluster = $cluster AND m."table" = c."table" AND m.key = c.key
     AND c."column" IN ('', m."column")
    JOIN residue r ON r."table" = m."table" AND r.key = m.key AND r."column" = m."column"
    WHERE NOT c.answered)
SELECT count(DISTINCT number) FILTER (NOT fine),
       count(DISTINCT number) FILTER (NOT fine AND given AND same),
       count(DISTINCT number) FILTER (fine OR given AND NOT same)
FROM met
"""


@dataclass(frozen=True, slots=True)
class Support:
    """What people say: complaints about members, right values that they should have according to
    the history, and what speaks against it; a step in words that is suspected and points here;
    and whether the log says that it holds every change."""

    wrong: int
    right: int
    against: int
    covered: bool
    step: Step | None

    @property
    def enough(self) -> bool:
        """May the cluster be called damage at all? Otherwise it is somebody's work."""
        return not self.against and (self.wrong > 0 or self.step is not None or self.covered)

    @property
    def confirmed(self) -> bool:
        """One complaint may be a mistake, and a log that calls itself complete has just shown
        that it is not: a target is believed only when people say it twice."""
        twice = self.wrong >= 3 or self.right >= 2
        return twice or (self.wrong > 0 and (self.covered or self.step is not None))


def doubted_tables(scene: Scene) -> tuple[str, ...]:
    """Tables in which something is not explained and people have said something about it: where
    a change that nobody wrote down may be called damage."""
    rows = scene.facts.execute(
        """SELECT DISTINCT r."table", c."table" IS NOT NULL FROM residue r
        LEFT JOIN complaint c ON c."table" = r."table" AND NOT c.fine AND NOT c.answered
        ORDER BY ALL"""
    ).fetchall()
    return tuple(
        dict.fromkeys(
            str(table)
            for table, complained in rows
            if scene.schema.has(table)
            and (complained or scene.log.covers(table) or suspected(scene, table, (), None))
        )
    )


def support(scene: Scene, cluster: Cluster) -> Support:
    row = scene.facts.execute(_HEARD, {"cluster": cluster.number}).fetchone()
    assert row is not None
    wrong, right, against = (int(number) for number in row)
    columns = (cluster.column,) if cluster.column else ()
    return Support(
        wrong,
        right,
        against,
        scene.log.covers(cluster.table),
        suspected(scene, cluster.table, columns, cluster.constant),
    )


def suspected(
    scene: Scene, table: str, columns: Sequence[str], constant: str | None
) -> Step | None:
    """A suspected step that cannot be run and whose words name the table, and of a change of
    cells its column or its number as well."""
    for step in scene.log.steps:
        if not step.suspect or step.id in scene.taken:
            continue
        if isinstance(step.action, Event):
            if table in step.action.tables:
                return step
        elif step.action is None and points_at(step.what, scene.schema, table, columns, constant):
            return step
    return None


def points_at(
    text: str, schema: Schema, table: str, columns: Sequence[str], constant: str | None
) -> bool:
    """Do the words name the table, and its column or the number when one is asked for?"""
    words = {_stem(word) for word in re.findall(r"\w+", text.lower())}
    numbers = set(re.findall(r"\d+(?:\.\d+)?", text))
    relation = schema.table(table).relation
    named = all(_stem(part) in words for part in relation.lower().split("_"))
    asked = [any(_stem(part) in words for part in column.lower().split("_")) for column in columns]
    if constant is not None and asked:
        asked.append(constant in numbers or _stem(constant.lower()) in words)
    return named and (not asked or any(asked))


def _stem(word: str) -> str:
    for ending, singular in (("ies", "y"), ("ses", "s"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + singular
    return word


def on_purpose_or_not(cells: int) -> tuple[Alternative, Alternative]:
    """What follows when a change that nobody wrote down was wanted, and when it was not: then so
    many cells and rows go back."""
    return (
        Alternative(
            message("On purpose"),
            message("Write it into the step log, and assess again: nothing is damaged"),
            0,
        ),
        Alternative(
            message("It was a mistake"),
            message("{n} cells and rows go back to what the step log makes of them", n=cells),
            cells,
        ),
    )
