"""What is there to be explained: the replayed history beside the current state.

Relations of the case database, made anew for each round of the search:

finals   what the history leaves behind, per cell that it wrote (column '' for the row itself):
         "table", key, "column", start (text before the first write, NULL for a row that came),
         came (the row was not in the backup), there (column '': whether the row is there now),
         value, act (the last that wrote it), place (of that act in the history, from 1)
residue  what the history does not explain, per cell or row ("column" ''): "table", key, "column",
         kind, backup, predicted, current, act, place (of the last act that wrote it; '' and 0)
           changed    in both, and it differs from what is predicted
           kept       in both; the history changes it, but it is still as in the backup
           missing    the row should be there; predicted is its image where the backup has it
           extra      the row should not be there; current is its image
Touched-at columns and others that clock and chance decide (`unstable`) are in neither kind of cell,
but where all that is written is the same whatever they decide (`steady`).
What the current state has no place for (`absent`) is in neither relation.
Everything is proportional to what was written or differs, never to the size of the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb

from diffing.model import Schema
from recovery.localize.statement import Target, targets
from recovery.model import Act, History, Replay, Step, StepLog

_FINALS = """
CREATE OR REPLACE TEMP TABLE finals AS
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place),
net AS (
    SELECT "table", key, "column", first(op ORDER BY ordinal) = 'insert' AS came,
           last(op ORDER BY ordinal) = 'insert' AS there, first(old ORDER BY ordinal) AS start,
           last(new ORDER BY ordinal) AS value, last(step ORDER BY ordinal) AS act
    FROM effect WHERE run = $run AND ("table", '') NOT IN (FROM absent)
      AND ("table", "column") NOT IN (FROM absent)
    GROUP BY "table", key, "column")
SELECT "table", key, "column", start, came, there, value, act, coalesce(place, 0) AS place
FROM net LEFT JOIN place ON place.step = net.act
"""

_RESIDUE = """
CREATE OR REPLACE TEMP TABLE residue AS
WITH row AS (SELECT * FROM finals WHERE "column" = ''),
shown AS (
    SELECT d."table", d.key, j.key AS "column", json_extract_string(j.value, '$') AS current
    FROM divergence d
    JOIN row r ON r."table" = d."table" AND r.key = d.key AND r.there AND r.came,
    json_each(d.current) j WHERE d.kind = 'extra'),
cells AS (
    SELECT 'changed' AS kind, d."table", d.key, d."column", d.backup, d.current,
           CASE WHEN f.key IS NULL THEN d.backup ELSE f.value END AS predicted, f.act, f.place
    FROM divergence d
    LEFT JOIN finals f ON f."table" = d."table" AND f.key = d.key AND f."column" = d."column"
    WHERE d.kind = 'changed'
    UNION ALL
    SELECT 'kept', f."table", f.key, f."column", f.start, f.start, f.value, f.act, f.place
    FROM finals f
    LEFT JOIN row r ON r."table" = f."table" AND r.key = f.key
    LEFT JOIN divergence d ON d."table" = f."table" AND d.key = f.key
         AND (d.kind <> 'changed' OR d."column" = f."column")
    WHERE f."column" <> '' AND NOT f.came AND coalesce(r.there, true) AND d.key IS NULL
      AND f.value IS DISTINCT FROM f.start
    UNION ALL
    SELECT 'changed', f."table", f.key, f."column", NULL, s.current, f.value, f.act, f.place
    FROM shown s JOIN finals f
      ON f."table" = s."table" AND f.key = s.key AND f."column" = s."column"),
rows AS (
    SELECT coalesce(r."table", d."table") AS "table", coalesce(r.key, d.key) AS key, d.backup,
           d.current, r.act, r.place,
           coalesce(r.there, d.kind = 'missing') AS predicted,
           coalesce(d.kind = 'extra', NOT r.came AND d.key IS NULL) AS present
    FROM row r
    FULL JOIN (FROM divergence WHERE kind IN ('missing', 'extra')) d
         ON d."table" = r."table" AND d.key = r.key)
SELECT c."table", c.key, c."column", c.kind, c.backup, c.predicted, c.current,
       coalesce(c.act, '') AS act, coalesce(c.place, 0) AS place
FROM cells c LEFT JOIN row r ON r."table" = c."table" AND r.key = c.key
WHERE c.predicted IS DISTINCT FROM c.current AND coalesce(r.there, true)
  AND ((c."table", c."column") NOT IN (SELECT ("table", "column") FROM unstable)
       OR (c."table", c.key, c."column") IN (SELECT ("table", key, "column") FROM steady))
UNION ALL
SELECT "table", key, '', CASE WHEN predicted THEN 'missing' ELSE 'extra' END,
       backup, CASE WHEN predicted THEN backup END, current, coalesce(act, ''), coalesce(place, 0)
FROM rows WHERE predicted <> present
  AND NOT (predicted AND "table" IN (SELECT "table" FROM clocked))
"""

_LEFT = 'SELECT "table", "column", count(*) FROM residue GROUP BY ALL'


@dataclass(frozen=True, slots=True)
class Scene:
    """What a hypothesis may look at. `history` holds the faults found so far; `base` is its run;
    `taken` are acts that already are faults."""

    log: StepLog
    history: History
    base: Replay
    schema: Schema
    facts: duckdb.DuckDBPyConnection
    taken: frozenset[str] = frozenset()
    _left: dict[tuple[str, str], int] = field(default_factory=dict, repr=False, compare=False)
    _steps: dict[str, Step] = field(default_factory=dict, repr=False, compare=False)

    def lay_out(self) -> None:
        """Make `finals` and `residue`."""
        acts = [act.id for act in self.history]
        self.facts.execute(_FINALS, {"acts": acts, "run": self.base.run})
        self.facts.execute(_RESIDUE)
        self._left.clear()
        for table, column, cells in self.facts.execute(_LEFT).fetchall():
            self._left[str(table), str(column)] = int(cells)

    def step(self, act: str) -> Step | None:
        """The step of the log that an act is; None for what the log does not have."""
        if not self._steps:
            self._steps.update((step.id, step) for step in reversed(self.log.steps))
        return self._steps.get(act)

    def place(self, act: str) -> int:
        """The act's place in the history, from 1."""
        return next(place for place, one in enumerate(self.history, 1) if one.id == act)

    def logged(self) -> Iterator[tuple[Act, Step]]:
        """Acts of steps of the log that are no fault yet."""
        for act in self.history:
            step = self.step(act.id)
            if step is not None and act.id not in self.taken:
                yield act, step

    def doubted(self) -> Iterator[tuple[Act, Step]]:
        """Those that may have deviated from their step: the log says what was meant, or does not
        say which."""
        return ((act, step) for act, step in self.logged() if step.describes != "executed")

    def aims(self, act: Act) -> tuple[Target, ...]:
        """What the act's statements name; see `statement.targets`."""
        return tuple(
            target for statement in act.statements for target in targets(statement, self.schema)
        )

    def covered(self, aimed: tuple[Target, ...]) -> bool:
        """Does the log say that it is complete for all of these tables?"""
        return bool(aimed) and all(self.log.covers(target.table) for target in aimed)

    def tells_what_was_meant(self, step: Step, aimed: tuple[Target, ...]) -> bool:
        """Is the text of the step what should have been done, where something else was done?"""
        return step.describes == "intended" or step.suspect or self.covered(aimed)

    def left(self, table: str, columns: frozenset[str]) -> int:
        """Changed or kept cells of these columns (no columns: missing or extra rows) that the
        history does not explain."""
        return sum(self._left.get((table, column), 0) for column in columns or ("",))
