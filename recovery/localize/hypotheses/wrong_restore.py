"""wrong-restore: older rows were put over newer ones.

log:      steps 4, 5, 7 and 9 changed rows of t; steps 6 and 8 changed others
current:  t is as it was after step 3; what steps 6 and 8 did is there

One step that left nothing was skipped, and steps that left nothing at the end of the log were lost
with the last commits (`skipped`). Here several steps have left nothing in certain tables, while
others of the same time have: these tables were put back to one older version, all of them, at one
moment. Or only some rows of a table were (`restored_rows`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from recovery.deviation import Insert
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.putting_back import Older, in_order, older, statements
from recovery.localize.restored_rows import RowsBack, side_by_side, stamped
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.localize.testimony import suspected
from recovery.messages import message
from recovery.model import Act, FaultClass, Step

_STEPS_MIN = 3  # that left nothing: fewer are no version
_GONE_SHARE = 0.9
_TOLD_BITS = 4.0  # of a restore that somebody suspects: which tables and when is said

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
    """Rows that bear the time at which they were put back; then whole tables; then rows of tables
    for which neither is so."""
    bearing = tuple(stamped(scene))
    for found in bearing:
        yield from _rows(scene, found)
    whole = tuple(_whole_tables(scene))
    yield from whole
    told = {one.table for one in bearing} | {
        target.table for candidate in whole for target in candidate.targets
    }
    for table in scene.schema.tables:
        if table.name not in told and table.key.columns:
            for found in side_by_side(scene, table):
                yield from _rows(scene, found)


def _whole_tables(scene: Scene) -> Iterator[Candidate]:
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
        candidate = _tables(scene, window, step)
        if candidate is not None:
            yield candidate


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    return not (witness.complaints.fine or witness.complaints.against)


def told(candidate: Candidate, score: Score) -> str:
    named = dict(candidate.parameters)
    if "moment" in named:
        return message(
            "{rows} rows of {tables} bear the moment {moment}, which no step gave them, and are as"
            " they were in the backup: steps {steps} have left nothing there",
            rows=named["rows"],
            tables=named["tables"],
            moment=named["moment"],
            steps=named["lost"],
        )
    if "rows" in named:
        return message(
            "{rows} rows of {tables} that lie side by side are as they were in the backup: steps"
            " {steps} have left nothing there, though later ones and those on other rows have",
            rows=named["rows"],
            tables=named["tables"],
            steps=named["lost"],
        )
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


def _tables(scene: Scene, window: _Window, step: Step | None) -> Candidate | None:
    """Whole tables, as they were before the window."""
    acts = scene.history
    tables: list[Older] = []
    for table in in_order(scene.schema, window.tables):
        found = older(scene, table, window.first, window.last)
        if found is None:
            return None
        tables.append(found)
    last = acts[(scene.place(step.id) if step else window.last) - 1]
    lost = [acts[place - 1].id for place in sorted(window.gone)]
    parameters = [("tables", ", ".join(sorted(window.tables))), ("lost", ", ".join(lost))]
    if window.floor:
        parameters.append(("version", acts[window.floor - 1].id))
    name = f"~wrong-restore/{'+'.join(window.tables)}"
    return _candidate(scene, tables, _When(name, last.id, _soon(last.at)), parameters, step)


def _rows(scene: Scene, found: RowsBack) -> Iterator[Candidate]:
    """Some rows of a table, as they were in the backup. What wrote them there one by one fired
    triggers, which files that are put back do not."""
    rows = older(scene, found.table, 1, found.last, found.keys)
    if rows is None:
        return
    acts, stamp = scene.history, found.stamp
    last = acts[found.last - 1]
    parameters = [
        ("tables", found.table),
        ("rows", str(len(found.keys))),
        ("lost", ", ".join(acts[place - 1].id for place in found.lost)),
    ]
    if stamp is not None:
        parameters.append(("moment", stamp.at.isoformat(sep=" ")))
        rows.stamped += sorted(frozenset(stamp.keys) - rows.cells.keys())
    when = _When(f"~wrong-restore/{found.table}", last.id, stamp.at if stamp else _soon(last.at))
    for silent in (False, True) if rows.silent and stamp is None else (False,):
        one = _candidate(scene, [replace(rows, silent=silent)], when, parameters, None)
        if one is not None and stamp is not None:
            touched = Target("update", found.table, frozenset({stamp.column}))
            one = replace(one, targets=(*one.targets, touched))
        if one is not None:
            yield one


@dataclass(frozen=True, slots=True)
class _When:
    """The act that put rows back: its name, the one that it followed, its time."""

    name: str
    after: str
    at: datetime


def _soon(at: datetime) -> datetime:
    return at + timedelta(milliseconds=1)


def _candidate(
    scene: Scene,
    tables: list[Older],
    when: _When,
    parameters: list[tuple[str, str]],
    step: Step | None,
) -> Candidate | None:
    texts = tuple(statements(tables))
    targets = tuple(target for one in tables for target in one.targets())
    if not targets:
        return None
    places, names = max(len(scene.history), 2), max(len(scene.schema.tables), 2)
    return Candidate(
        FaultClass.WRONG_RESTORE,
        step.id if step else "",
        when.name,
        tuple(parameters),
        "",
        (Insert(when.after, Act(when.name, texts, when.at)),),
        (),
        _TOLD_BITS if step else 8.0 + 2 * math.log2(places) + math.log2(names),
        targets,
        # What was put back hides whatever was there: also work that nobody wrote down.
        certain=scene.covered(targets),
    )


HYPOTHESIS = Hypothesis(FaultClass.WRONG_RESTORE, propose, told, admits=admits)
