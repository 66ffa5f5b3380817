"""wrong-restore: older rows were put over newer ones.

log:      steps 4, 5, 7 and 9 changed rows of t; steps 6 and 8 changed others
current:  t is as it was after step 3; what steps 6 and 8 did is there

One step that left nothing was skipped, and steps that left nothing at the end of the log were lost
with the last commits (`skipped`). Here several steps have left nothing in certain tables, while
others of the same time have: these tables were put back to one older version, all of them, at one
moment.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from psycopg import sql

from diffing.model import Schema, Table
from recovery.deviation import Insert
from recovery.localize.by_key import among, set_cells
from recovery.localize.clusters import insert_statement
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.localize.testimony import suspected
from recovery.messages import message
from recovery.model import Act, FaultClass, Step

_STEPS_MIN = 3  # that left nothing: fewer are no version
_GONE_SHARE = 0.9
_TOLD_BITS = 4.0  # of a restore that somebody suspects: which tables and when is said
_ROWS_MAX = 20_000  # rows that one statement puts back
_BATCH = 1000

# Per table and act what it wrote there last: is it there, or is an older version?
_LEFT = """
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place),
wrote AS (
    SELECT step, "table", key, "column", first(old ORDER BY ordinal) AS before,
           last(new ORDER BY ordinal) AS after, last(op ORDER BY ordinal) AS op
    FROM effect WHERE run = $run GROUP BY step, "table", key, "column"),
version AS (
    SELECT "table", key, "column", list(DISTINCT old) AS olds FROM effect
    WHERE run = $run AND op = 'update' GROUP BY ALL)
SELECT f."table", f.place,
       count(*) FILTER (r.key IS NOT NULL
           AND (f."column" = '' OR list_contains(v.olds, r.current))),
       count(*) FILTER (r.key IS NULL)
FROM finals f
JOIN wrote w ON w.step = f.act AND w."table" = f."table" AND w.key = f.key
     AND w."column" = f."column"
LEFT JOIN version v ON v."table" = f."table" AND v.key = f.key AND v."column" = f."column"
LEFT JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
LEFT JOIN residue r ON r."table" = f."table" AND r.key = f.key AND r."column" = f."column"
LEFT JOIN residue whole ON f."column" <> '' AND whole."table" = f."table" AND whole.key = f.key
     AND whole."column" = ''
WHERE u."column" IS NULL AND whole.key IS NULL
  AND (f."column" = '' OR w.op = 'update' AND w.before IS DISTINCT FROM w.after)
GROUP BY f."table", f.place ORDER BY f."table", f.place
"""
# What the tables were like before these acts, where they wrote.
_OLDER = """
WITH place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place)
SELECT e.key, e."column", first(e.op ORDER BY e.ordinal), last(e.op ORDER BY e.ordinal),
       first(e.old ORDER BY e.ordinal)
FROM effect e JOIN place p ON p.step = e.step
WHERE e.run = $run AND e."table" = $table AND p.place BETWEEN $first AND $last
GROUP BY e.key, e."column" ORDER BY length(e.key), e.key, e."column" LIMIT $most
"""


@dataclass(frozen=True, slots=True)
class _Trace:
    """What became of what the acts left in one table, by the places of the acts."""

    table: str
    gone: tuple[int, ...]
    there: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Window:
    """Tables in which the acts from `first` to `last` left nothing. The version put back is of
    some moment behind `floor`, put back some time before `ceiling`."""

    tables: tuple[str, ...]
    first: int
    last: int
    floor: int
    ceiling: int
    gone: frozenset[int]

    def with_table(self, trace: _Trace) -> "_Window | None":
        """The window with one more table, if it was put back together with the others."""
        inside = [place for place in trace.gone if self.floor < place < self.ceiling]
        if not inside:
            return None
        first, last = min(self.first, *inside), max(self.last, *inside)
        if any(first <= place <= last for place in trace.there):
            return None
        floor = max([self.floor, *(place for place in trace.there if place < first)])
        ceiling = min([self.ceiling, *(place for place in trace.there if place > last)])
        return _Window(
            (*self.tables, trace.table), first, last, floor, ceiling, self.gone | set(inside)
        )


def propose(scene: Scene) -> Iterator[Candidate]:
    traces = _traces(scene)
    seeds = sorted(
        (window for trace in traces for window in _windows(trace, len(scene.history))),
        key=lambda one: (-len(one.gone), one.tables, one.first),
    )
    tried: set[tuple[str, ...]] = set()
    for seed in seeds[:3]:
        window = seed
        for trace in sorted(traces, key=lambda one: (-len(one.gone), one.table)):
            if trace.table not in window.tables:
                window = window.with_table(trace) or window
        names = tuple(sorted(window.tables))
        step = _told_of(scene, window)
        survived = any(
            place > window.first
            for trace in traces
            for place in trace.there
            if trace.table not in names or place > window.last
        )
        version = len(window.gone) >= _STEPS_MIN and survived
        if not (version or step) or names in tried:
            continue
        tried.add(names)
        candidate = _candidate(scene, window, step)
        if candidate is not None:
            yield candidate


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    return not (witness.complaints.fine or witness.complaints.against)


def told(candidate: Candidate, score: Score) -> str:
    named = dict(candidate.parameters)
    if "version" in named:
        return message(
            "{tables} are as they were after step {version}: steps {steps} have left nothing there,"
            " though others of that time have left something elsewhere or since",
            tables=named["tables"],
            version=named["version"],
            steps=named["lost"],
        )
    return message(
        "{tables} are as they were in the backup: steps {steps} have left nothing there, though"
        " others of that time have left something elsewhere or since",
        tables=named["tables"],
        steps=named["lost"],
    )


def _told_of(scene: Scene, window: _Window) -> Step | None:
    """The suspected step in words that names the tables and came behind all that is gone."""
    told = (suspected(scene, name, (), None) for name in window.tables)
    steps = {step.id: step for step in told if step is not None}
    for act in scene.history[window.last : window.ceiling - 1]:
        if [act.id] == list(steps):
            return steps[act.id]
    return None


def _traces(scene: Scene) -> tuple[_Trace, ...]:
    acts = [act.id for act in scene.history]
    rows = scene.facts.execute(_LEFT, {"acts": acts, "run": scene.base.run}).fetchall()
    gone: dict[str, list[int]] = {}
    there: dict[str, list[int]] = {}
    for table, place, stale, kept in rows:
        nothing = stale and stale >= _GONE_SHARE * (stale + kept)
        (gone if nothing else there).setdefault(str(table), []).append(int(place))
    return tuple(
        _Trace(table, tuple(gone.get(table, ())), tuple(there.get(table, ())))
        for table in sorted(gone.keys() | there.keys())
    )


def _windows(trace: _Trace, places: int) -> Iterator[_Window]:
    """Runs of acts of which nothing is left in the table."""
    marks = sorted([(place, True) for place in trace.gone] + [(p, False) for p in trace.there])
    floor = 0
    run: list[int] = []
    for place, nothing in [*marks, (places + 1, False)]:
        if nothing:
            run.append(place)
            continue
        if run:
            yield _Window((trace.table,), run[0], run[-1], floor, place, frozenset(run))
        floor, run = place, []


def _candidate(scene: Scene, window: _Window, step: Step | None) -> Candidate | None:
    acts = scene.history
    tables: list[_Older] = []
    for table in _in_order(scene.schema, window.tables):
        older = _older(scene, table, window)
        if older is None:
            return None
        tables.append(older)
    statements = tuple(_statements(tables))
    targets = tuple(target for one in tables for target in one.targets())
    if not statements:
        return None
    last = acts[(scene.place(step.id) if step else window.last) - 1]
    name = f"~wrong-restore/{'+'.join(window.tables)}"
    lost = [acts[place - 1].id for place in sorted(window.gone)]
    parameters = [("tables", ", ".join(sorted(window.tables))), ("lost", ", ".join(lost))]
    if window.floor:
        parameters.append(("version", acts[window.floor - 1].id))
    return Candidate(
        FaultClass.WRONG_RESTORE,
        step.id if step else "",
        name,
        tuple(parameters),
        "",
        (Insert(last.id, Act(name, statements, last.at + timedelta(milliseconds=1))),),
        (),
        _TOLD_BITS
        if step
        else 8.0 + 2 * math.log2(max(len(acts), 2)) + math.log2(max(len(scene.schema.tables), 2)),
        targets,
    )


@dataclass(slots=True)
class _Older:
    """How the rows of a table are put back: rows to go, rows to come, cells to be set."""

    table: Table
    silent: bool  # the table has triggers, which putting files back does not fire
    going: list[str]
    coming: list[Mapping[str, str | None]]
    cells: dict[str, list[tuple[str, str | None]]]

    def targets(self) -> Iterator[Target]:
        if self.cells:
            yield Target("update", self.table.name, frozenset(self.cells))
        if self.going:
            yield Target("delete", self.table.name, frozenset())
        if self.coming:
            yield Target("insert", self.table.name, frozenset())


def _statements(tables: Sequence[_Older]) -> Iterator[str]:
    """Rows go before those they refer to, and come after them."""
    switch = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
    names = [sql.Identifier(one.table.schema, one.table.relation) for one in tables]
    silent = [name for one, name in zip(tables, names, strict=True) if one.silent]
    for name in silent:
        yield switch.format(name, sql.SQL("DISABLE")).as_string(None)
    for one, name in zip(tables, names, strict=True):
        for start in range(0, len(one.going), _BATCH):
            rows = among(one.table, one.going[start : start + _BATCH])
            yield sql.SQL("DELETE FROM {} WHERE {}").format(name, rows).as_string(None)
    for one in reversed(tables):
        for start in range(0, len(one.coming), _BATCH):
            yield insert_statement(one.table, one.coming[start : start + _BATCH])
    for one in tables:
        for column, cells in sorted(one.cells.items()):
            for start in range(0, len(cells), _BATCH):
                yield set_cells(one.table, column, cells[start : start + _BATCH])
    for name in silent:
        yield switch.format(name, sql.SQL("ENABLE")).as_string(None)


def _older(scene: Scene, name: str, window: _Window) -> _Older | None:
    """What putting back the older rows of this table does; None where that is too much to say,
    or rows have no key."""
    table = scene.schema.table(name)
    rows = scene.facts.execute(
        _OLDER,
        {
            "acts": [act.id for act in scene.history],
            "run": scene.base.run,
            "table": name,
            "first": window.first,
            "last": window.last,
            "most": _ROWS_MAX + 1,
        },
    ).fetchall()
    if len(rows) > _ROWS_MAX or not table.key.columns:
        return None
    silent = any(one.table == name and one.enabled for one in scene.schema.triggers)
    older = _Older(table, silent, [], [], {})
    came = {key for key, column, first, _, _ in rows if column == "" and first == "insert"}
    gone = {key for key, column, first, last, _ in rows if column == "" and last == "delete"}
    for key, column, _, last, old in rows:
        if column == "":
            if key in came and last == "insert":
                older.going.append(str(key))
            elif key not in came and key in gone:
                older.coming.append(json.loads(old))
        elif key not in came and key not in gone and not table.column(column).generated:
            older.cells.setdefault(str(column), []).append((str(key), old))
    return older


def _in_order(schema: Schema, tables: Sequence[str]) -> Sequence[str]:
    """Tables before those they refer to."""
    ordered: list[str] = []
    waiting = sorted(tables)
    while waiting:
        free = [
            name
            for name in waiting
            if not any(
                key.parent == name and key.table in waiting and key.table != name
                for key in schema.foreign_keys
            )
        ]
        ordered += free or waiting[:1]
        waiting = [name for name in waiting if name not in ordered]
    return ordered


HYPOTHESIS = Hypothesis(FaultClass.WRONG_RESTORE, propose, told, admits=admits)
