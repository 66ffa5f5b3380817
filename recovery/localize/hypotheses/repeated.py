"""repeated: a step was carried out more than once.

log:      UPDATE t SET a = a * 1.05 WHERE s = 3          INSERT INTO t (a) VALUES ('x'), ('y')
current:  a is 1.1025 times what it was                  'x', 'y', 'x', 'y'

How often is read from the data: from how far the values went, or from how many rows look like
those that the step made. When it was done again is where the times of the copies say, or anywhere
behind the step where it makes a difference.

Under a partial log, raising a price by 5 % twice may be what somebody wanted. It is claimed where
people say so, where the client program reported the rows of all runs together, where rows that
both runs added (copies, an audit trail) show that they were seconds apart and several of them are
concerned, or where a typed list of rows came a second time to the letter and has no times of its
own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import postgast
from postgast import pg_query_pb2 as ast

from recovery.deviation import Insert
from recovery.localize.cells import TOLERANCE_SECONDS
from recovery.localize.copies import is_list
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.naming import named
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import injective_columns
from recovery.messages import message
from recovery.model import Act, FaultClass

_TIMES_MAX = 10
_SUSPECTED = 6.0  # bits
_ALIKE = 12.0  # bits: rows that are the same in all that the step gave them
_UPDATED_MIN = 3  # rows; one piece sold twice within seconds is business
_SORTS_MIN = 2  # different rows of one step; and so is one article that was scanned twice
_TYPED_MIN = 3
_TYPED_CHARACTERS_MIN = 30
_AGAIN = "~again/"

# Per step the cells that it wrote, how many of them hold something else than is predicted, and
# how often it must have run for that, where it wrote them last: by sums and by ratios.
_MOVED = """
WITH wrote AS (
    SELECT step, "table", key, "column", first(old ORDER BY ordinal) AS old,
           last(new ORDER BY ordinal) AS new
    FROM effect WHERE run = $run AND op = 'update' GROUP BY step, "table", key, "column"),
told AS (
    SELECT w.step, r.key IS NOT NULL AS moved, f.act = w.step AS last,
           try_cast(w.old AS DOUBLE) AS o, try_cast(w.new AS DOUBLE) AS n,
           try_cast(r.current AS DOUBLE) AS c
    FROM wrote w
    JOIN finals f ON f."table" = w."table" AND f.key = w.key AND f."column" = w."column"
    LEFT JOIN unstable u ON u."table" = w."table" AND u."column" = w."column"
    LEFT JOIN residue r ON r.kind = 'changed' AND r."table" = w."table" AND r.key = w.key
         AND r."column" = w."column"
    WHERE u."column" IS NULL AND w.old IS DISTINCT FROM w.new),
solved AS (
    SELECT *, CASE WHEN moved AND last AND n <> o THEN (c - o) / (n - o) END AS sums,
           CASE WHEN moved AND last AND o <> 0 AND n / o > 0 AND n <> o AND c / o > 0
                THEN ln(c / o) / ln(n / o) END AS ratios
    FROM told)
SELECT step, count(*) FILTER (moved), count(*),
       mode(round(sums)) FILTER (abs(sums - round(sums)) < 1e-6),
       mode(round(ratios)) FILTER (abs(ratios - round(ratios)) < 0.1)
FROM solved GROUP BY step HAVING count(*) FILTER (moved) > 0
"""

# Rows that a step made and rows that no step made, by what the step gave them: all but numbers of
# sequences, clocks and chance, and references to rows that a step makes together with these.
_MADE = """
CREATE OR REPLACE TEMP TABLE copied AS
WITH tables AS (
    SELECT DISTINCT step, "table" FROM effect
    WHERE run = $run AND op = 'insert' AND "column" = ''),
passed AS (
    SELECT "table", "column" FROM unstable
    UNION SELECT unnest($loose::VARCHAR[]), unnest($columns::VARCHAR[])
    UNION SELECT DISTINCT k.child, k."column"
    FROM (SELECT unnest($children::VARCHAR[]) AS child, unnest($references::VARCHAR[]) AS "column",
                 unnest($parents::VARCHAR[]) AS parent) k
    JOIN tables c ON c."table" = k.child
    JOIN tables p ON p."table" = k.parent AND p.step = c.step),
made AS (
    SELECT e.step, e."table", e.key,
           string_agg(e."column" || '=' || coalesce(to_json(e.new)::VARCHAR, 'null'), chr(31)
                      ORDER BY e."column") AS content
    FROM effect e
    WHERE e.run = $run AND e.op = 'insert' AND e."column" <> '' AND NOT EXISTS (
        FROM passed p WHERE p."table" = e."table" AND p."column" = e."column")
    GROUP BY ALL),
extra AS (
    SELECT r."table", r.key, r.current,
           string_agg(j.key || '=' || coalesce(to_json(json_extract_string(j.value, '$'))::VARCHAR,
                      'null'), chr(31) ORDER BY j.key) AS content
    FROM residue r, json_each(CASE WHEN r.kind = 'extra' THEN r.current END) j
    WHERE r.kind = 'extra' AND r.act = '' AND r.current IS NOT NULL
      AND r."table" IN (SELECT "table" FROM tables) AND NOT EXISTS (
        FROM passed p WHERE p."table" = r."table" AND p."column" = j.key)
    GROUP BY ALL)
SELECT m.step, m."table", m.content, count(DISTINCT m.key) AS made,
       count(DISTINCT x.key) AS more, any_value(m.key) AS original, any_value(x.current) AS copy
FROM made m LEFT JOIN extra x ON x."table" = m."table" AND x.content = m.content
GROUP BY m.step, m."table", m.content
"""
_COPIED = """
SELECT step, count(*), count(*) FILTER (more >= made),
       mode(more // made) FILTER (more >= made) FROM copied
GROUP BY step HAVING count(*) FILTER (more >= made) > 0
"""

# How long after the time that the log gives, in seconds: of rows that the step made, and of its
# copies or of touched-at columns that it wrote last.
_LATE = """
WITH shown AS (
    SELECT d.current AS text, f.value AS told, f.came
    FROM finals f
    JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
    JOIN divergence d ON d."table" = f."table" AND d.key = f.key AND d.kind = 'changed'
         AND d."column" = f."column"
    WHERE f.act = $step
    UNION ALL
    SELECT json_extract_string(d.current, '$."' || u."column" || '"'), f.value, true
    FROM finals f
    JOIN unstable u ON u."table" = f."table" AND u."column" = f."column"
    JOIN divergence d ON d."table" = f."table" AND d.key = f.key AND d.kind = 'extra'
    WHERE f.act = $step AND f.came
    UNION ALL
    SELECT json_extract_string(k.copy, '$."' || u."column" || '"'), f.value, false
    FROM copied k
    JOIN unstable u ON u."table" = k."table"
    JOIN finals f ON f."table" = k."table" AND f.key = k.original AND f."column" = u."column"
    WHERE k.step = $step AND k.more >= k.made),
late AS (
    SELECT came, epoch(try_cast(split_part(text, '+', 1) AS TIMESTAMP))
           - epoch(try_cast(split_part(told, '+', 1) AS TIMESTAMP)) AS late
    FROM shown)
SELECT median(late) FILTER (came), median(late) FILTER (NOT came) FROM late
"""

# How far the clock columns of added rows are from what the two runs predict: rows of the first
# run, and of the copy; and whether they show more than days.
_APART = """
SELECT median(late) FILTER (first), median(late) FILTER (NOT first),
       bool_or(contains(shown, ':')) FROM (
    SELECT c.t_row AS first, c.c AS shown, epoch(try_cast(split_part(c.c, '+', 1) AS TIMESTAMP))
           - epoch(try_cast(split_part(c.f, '+', 1) AS TIMESTAMP)) AS late
    FROM cell c JOIN unstable u ON u."table" = c."table" AND u."column" = c."column"
    WHERE c.c_row AND c.f_row AND NOT c.b_row
      AND (c.by_fault AND NOT c.t_row OR c.t_row AND list_contains(c.t_steps, $step)))
"""


@dataclass(frozen=True, slots=True)
class _Again:
    """A step that may have run `times` times; `alike`: rows say so."""

    step: str
    times: int
    open: int  # cells or rows that are not as one run leaves them, less those that are
    alike: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the history it was done again: behind this act, so many seconds later than the log
    says of the step, out of so many places."""

    after: str
    late: float
    choices: int


def propose(scene: Scene) -> Iterator[Candidate]:
    # An import that was done again is a class of its own.
    doubted = {
        act.id: act
        for act, _ in scene.logged()
        if act.statements and not act.supplies and not is_list(act)
    }
    seen = [one for one in (*_copied(scene), *_moved(scene)) if one.step in doubted]
    for one in sorted(seen, key=lambda one: (not one.alike, -one.open, one.step, one.times)):
        act = doubted[one.step]
        first, again = _late(scene, act)
        places = _places(scene, act) if again is None else (_place_at(scene, act, first, again),)
        for after in places:
            late = first if again is None else again
            yield _candidate(scene, one, act, _Place(after, late, len(places)))


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where a second change that somebody wanted is ruled out."""
    if witness.covered:
        return True
    suspected = witness.step is not None and witness.step.suspect
    complained = witness.complaints.explained > witness.complaints.fine + witness.complaints.against
    if suspected or complained or _all_reported(scene, candidate, witness):
        return True
    apart = _apart(scene, candidate)
    if apart is not None and abs(apart.seconds) > TOLERANCE_SECONDS:
        return False
    if apart is not None and apart.exact and _rows_again(scene, candidate) >= _UPDATED_MIN:
        return True
    sorts = _sorts_again(scene, candidate)
    if apart is not None and apart.exact and sorts >= _SORTS_MIN:
        return True
    return sorts > 0 and _typed(candidate.statement, 1 if apart and apart.exact else _TYPED_MIN)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "Step {step}, done {times} times, explains {hits} cells and rows",
        step=candidate.step,
        times=int(dict(candidate.parameters)["times"]),
        hits=score.hits,
    )


def _moved(scene: Scene) -> Iterator[_Again]:
    for step, moved, wrote, sums, ratios in scene.facts.execute(
        _MOVED, {"run": scene.base.run}
    ).fetchall():
        if moved * 2 < wrote:
            continue
        found = [int(times) for times in (sums, ratios) if times is not None]
        likely = [times for times in dict.fromkeys(found) if 2 <= times <= _TIMES_MAX]
        for times in likely or [2] * (not found):
            yield _Again(str(step), times, 2 * int(moved) - int(wrote), alike=False)


def _copied(scene: Scene) -> Iterator[_Again]:
    loose = [sequence.owned_by for sequence in scene.schema.sequences if sequence.owned_by]
    loose += [
        (table.name, column.name)
        for table in scene.schema.tables
        for column in table.columns
        if column.generated
    ]
    references = [(key, column) for key in scene.schema.foreign_keys for column in key.columns]
    names = {
        "run": scene.base.run,
        "loose": [table for table, _ in loose],
        "columns": [column for _, column in loose],
        "children": [key.table for key, _ in references],
        "references": [column for _, column in references],
        "parents": [key.parent for key, _ in references],
    }
    scene.facts.execute(_MADE, names)
    for step, made, more, times in scene.facts.execute(_COPIED).fetchall():
        if more * 2 >= made and times < _TIMES_MAX:
            yield _Again(str(step), int(times) + 1, 2 * int(more) - int(made), alike=True)


def _candidate(scene: Scene, again: _Again, act: Act, place: _Place) -> Candidate:
    step = scene.step(act.id)
    suspected = step is not None and step.suspect
    # All candidates of a round share the name: each may find the ids that the copies have today.
    earlier = sum(one.id.startswith(_AGAIN) for one in scene.history)
    name = f"{_AGAIN}{earlier + 1}"
    copy = replace(
        act,
        id=name,
        statements=act.statements * (again.times - 1),
        at=act.at + timedelta(seconds=place.late),
    )
    parameters = [("times", str(again.times))]
    if place.after != act.id:
        parameters.append(("after", place.after))
    bits = math.log2(max(len(scene.history), 2)) + 2 + math.log2(again.times * place.choices)
    return Candidate(
        FaultClass.REPEATED,
        act.id,
        name,
        tuple(parameters),
        ";\n".join(act.statements),
        (Insert(place.after, copy),),
        (),
        bits - _SUSPECTED * suspected - _ALIKE * again.alike,
        scene.aims(act),
        injective_columns(act.statements[0]) if len(act.statements) == 1 else frozenset(),
    )


def _late(scene: Scene, act: Act) -> tuple[float, float | None]:
    """Seconds from the time of the log to what clock columns show of the act, and of the second
    time; None when nothing shows that."""
    row = scene.facts.execute(_LATE, {"step": act.id}).fetchone()
    assert row is not None
    return float(row[0] or 0), None if row[1] is None else float(row[1])


def _place_at(scene: Scene, act: Act, first: float, again: float) -> str:
    """The last act before the second time; the act itself when it was at once."""
    then = act.at + timedelta(seconds=again - first)
    later = scene.history[scene.place(act.id) :] if again - first > TOLERANCE_SECONDS else ()
    return next((one.id for one in reversed(later) if one.at <= then), act.id)


def _places(scene: Scene, act: Act) -> Sequence[str]:
    """Directly behind the act; behind the last act that had to do with the same tables and saw
    them as they were after one run; and behind the last that had to do with them at all."""
    wrote = {target.table for target in scene.aims(act)}
    later = scene.history[scene.place(act.id) :]
    crossed = [one.id for one in later if wrote & named(one, scene.schema)]
    rows = scene.facts.execute("SELECT DISTINCT act FROM residue").fetchall()
    moved = {str(name) for (name,) in rows}
    undisturbed = [name for name in crossed if name not in moved]
    return tuple(dict.fromkeys((act.id, *undisturbed[-1:], *crossed[-1:])))


def _all_reported(scene: Scene, candidate: Candidate, witness: Witness) -> bool:
    """The client program reported the rows of all runs together."""
    rows: Mapping[str, int | None] = {one.step: one.rows for one in scene.base.outcomes}
    once = rows.get(candidate.step)
    if witness.step is None or not once:
        return False
    return witness.step.rows == once * int(dict(candidate.parameters)["times"])


@dataclass(frozen=True, slots=True)
class _Apart:
    """Between the rows that the step added and those that its copy added, by their own times;
    `exact`: these are more than days."""

    seconds: float
    exact: bool


def _apart(scene: Scene, candidate: Candidate) -> _Apart | None:
    """None when the rows have no times."""
    row = scene.facts.execute(_APART, {"step": candidate.step}).fetchone()
    if row is None or row[0] is None or row[1] is None:
        return None
    (insert,) = (one for one in candidate.happened if isinstance(one, Insert))
    logged = next(act.at for act in scene.history if act.id == candidate.step)
    late = (insert.act.at - logged).total_seconds()
    return _Apart(float(row[1]) - float(row[0]) + late, bool(row[2]))


def _rows_again(scene: Scene, candidate: Candidate) -> int:
    """Rows that the statements name and that were updated again, seen as the copy left them."""
    row = scene.facts.execute(
        """SELECT count(DISTINCT ("table", key)) FROM cell
        WHERE by_fault AND t_row AND c_row AND c IS NOT DISTINCT FROM f
          AND list_contains(?::VARCHAR[], "table")""",
        [[target.table for target in candidate.targets if target.op == "update"]],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _sorts_again(scene: Scene, candidate: Candidate) -> int:
    """How many different rows the statements made, when all of them are there once more to the
    letter."""
    row = scene.facts.execute(
        """SELECT count(*) FILTER (list_contains($aimed::VARCHAR[], "table")),
               coalesce(bool_and(more >= made), false) FROM copied WHERE step = $step""",
        {
            "step": candidate.step,
            "aimed": [target.table for target in candidate.targets if target.op == "insert"],
        },
    ).fetchone()
    assert row is not None
    return int(row[0]) if row[1] else 0


def _typed(text: str, rows_min: int) -> bool:
    """So many different rows, and so much in them that nobody types it again by chance."""
    inserts = [
        one.stmt.insert_stmt
        for one in postgast.parse(text).stmts
        if one.stmt.WhichOneof("node") == "insert_stmt"
    ]
    rows = [
        tuple(_constants(row))
        for insert in inserts
        for row in insert.select_stmt.select_stmt.values_lists
    ]
    characters = sum(len(value) for row in rows for value in row)
    return len(set(rows)) >= rows_min and characters >= _TYPED_CHARACTERS_MIN


def _constants(row: ast.Node) -> Iterator[str]:
    for one in postgast.find_nodes(row, ast.A_Const):
        match one.WhichOneof("val"):
            case "ival":
                yield str(one.ival.ival)
            case "fval":
                yield str(one.fval.fval)
            case "sval":
                yield str(one.sval.sval)


HYPOTHESIS = Hypothesis(FaultClass.REPEATED, propose, told, admits=admits)
