"""skipped: a step of the log was not carried out, or was rolled back, or was lost.

log:      UPDATE orders SET status = 'paid' WHERE batch = 12
current:  these orders are as they were before it

Several of them at the end of the log are one fault: commits that were lost. Under a partial log
the nearest rival is somebody who took the step back on purpose and did not write it down. Only
witnesses tell: people, a client program that reported no rows, a touched-at column that a trigger
keeps and that nobody has moved, a crash. Where nothing speaks but the number of rows, the fault is
named, and what to do about it is left to a person.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from recovery.deviation import Drop
from recovery.localize.drawn import ask_for_numbers
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target, injective_columns
from recovery.localize.witnesses import accused
from recovery.messages import message
from recovery.model import Act, Event, Fault, FaultClass, Question

_SUSPECTED = 6.0  # bits: that a suspected step was not done at all needs few rows to be believed
_LOST_MIN = 3  # steps in a row that all left nothing are no accident
_OTHERS_SHARE = 4
_SPARED_MIN = 3  # whole rows that are still there as they were
_KEPT_MIN = 10  # rows of an update; their former values must be of this many sorts:
_SORTS_MIN = 3

# What the acts wrote, and nobody after them: is it there, or is what was there before? `before` is
# the first thing that acts from place $from on have overwritten.
_SIGHT = """
CREATE OR REPLACE TEMP TABLE undone AS
WITH wrote AS (
    SELECT step, "table", key, "column", first(old ORDER BY ordinal) AS before,
           last(new ORDER BY ordinal) AS after, last(op ORDER BY ordinal) AS op
    FROM effect WHERE run = $run GROUP BY step, "table", key, "column")
SELECT w.step, f.place, w."table", w.key, w."column", w.op, w.before,
       r.key IS NOT NULL AS open,
       r.key IS NOT NULL AND (w."column" = '' OR r.current IS NOT DISTINCT FROM w.before) AS hit
FROM wrote w
JOIN finals f ON f."table" = w."table" AND f.key = w.key AND f."column" = w."column"
     AND f.act = w.step
LEFT JOIN unstable u ON u."table" = w."table" AND u."column" = w."column"
LEFT JOIN residue r ON r."table" = w."table" AND r.key = w.key AND r."column" = w."column"
WHERE (w."column" = '' OR w.op = 'update' AND w.before IS DISTINCT FROM w.after)
  AND u."column" IS NULL
"""
_SEEN = """
SELECT step, count(*) FILTER (hit), count(*) FILTER (NOT open) FROM undone GROUP BY step
"""
_SURVIVED = "SELECT coalesce(max(place), 0) FROM undone WHERE NOT open"
_OPEN = """
SELECT count(DISTINCT step) FROM undone WHERE open AND list_contains($acts::VARCHAR[], step)
"""
_OPEN_SINCE = "SELECT count(DISTINCT step) FROM undone WHERE open AND place > ?"

# Rows whose touched-at column these acts would have moved first, and rows where it is still the
# backup's.
_UNTOUCHED = """
WITH rows AS (
    SELECT DISTINCT "table", key FROM undone
    WHERE hit AND op = 'update' AND list_contains($acts::VARCHAR[], step)),
stamp AS (
    SELECT e."table", e.key, bool_and(d.key IS NULL) AS still
    FROM effect e
    JOIN unstable u ON u."table" = e."table" AND u."column" = e."column"
    JOIN finals f ON f."table" = e."table" AND f.key = e.key AND f."column" = e."column"
         AND f.start IS NOT DISTINCT FROM e.old
    LEFT JOIN divergence d ON d.kind = 'changed' AND d."table" = e."table" AND d.key = e.key
         AND d."column" = e."column"
    WHERE e.run = $run AND e.op = 'update' AND list_contains($acts, e.step)
      AND NOT list_contains($typed::VARCHAR[], e."table" || chr(31) || e."column")
    GROUP BY e."table", e.key)
SELECT count(*), count(*) FILTER (s.still)
FROM rows r JOIN stamp s ON s."table" = r."table" AND s.key = r.key
"""
_KEPT = """
SELECT count(DISTINCT ("table", key)) FILTER (op = 'delete'),
       count(*) FILTER (op = 'insert'),
       count(DISTINCT ("table", key)) FILTER (op = 'update'),
       count(DISTINCT before) FILTER (op = 'update')
FROM undone WHERE hit AND list_contains($acts::VARCHAR[], step)
"""


@dataclass(frozen=True, slots=True)
class _Seen:
    step: str
    hits: int
    misses: int


def propose(scene: Scene) -> Iterator[Candidate]:
    scene.facts.execute(_SIGHT, {"run": scene.base.run})
    doubted = {act.id: act for act, _ in scene.doubted() if act.statements}
    tail = _lost_tail(scene)
    if len(tail) > 1:
        yield _candidate(scene, tail)
    rows = scene.facts.execute(_SEEN).fetchall()
    seen = [_Seen(str(step), int(hits), int(misses)) for step, hits, misses in rows]
    likely = [one for one in seen if one.hits > one.misses and one.step in doubted]
    for one in sorted(likely, key=lambda one: (one.misses - one.hits, one.step)):
        yield _candidate(scene, (doubted[one.step],))


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where a step that was taken back on purpose is ruled out, or so many rows are
    concerned that a person should be asked."""
    if witness.covered or witness.vouched:
        return True
    acts = [act for act in scene.history if act.id in candidate.omitted]
    if len(acts) > 1 and score.others * _OTHERS_SHARE > score.hits:
        return False  # steps whose rows hold something else were hardly all lost
    return _witnessed(scene, acts) or _no_accident(scene, acts)


def told(candidate: Candidate, score: Score) -> str:
    names = dict(candidate.parameters)
    if "last" in names:
        return message(
            "Steps {first} to {last} have left nothing: {hits} cells and rows are as they were"
            " before them",
            first=names["first"],
            last=names["last"],
            hits=score.hits,
        )
    return message(
        "Step {step} has left nothing: {hits} cells and rows are as they were before it",
        step=candidate.step,
        hits=score.hits,
    )


def asks(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    return tuple(ask_for_numbers(facts, fault.id))


def _lost_tail(scene: Scene) -> tuple[Act, ...]:
    """The acts at the end of the history of which nothing is there, if several should have left
    something."""
    survived = scene.facts.execute(_SURVIVED).fetchone()
    assert survived is not None
    last = int(survived[0])
    lost = scene.facts.execute(_OPEN_SINCE, [last]).fetchone()
    assert lost is not None
    if int(lost[0]) < 2:
        return ()
    doubted = {act.id for act, _ in scene.doubted()}
    wrote = {str(step) for (step,) in scene.facts.execute("SELECT step FROM undone").fetchall()}
    tail = [act for act in scene.history[last:] if act.statements]
    while tail and tail[0].id not in wrote:
        tail.pop(0)
    return tuple(tail) if all(act.id in doubted for act in tail) else ()


def _candidate(scene: Scene, acts: Sequence[Act]) -> Candidate:
    first, last = acts[0], acts[-1]
    suspected = any((step := scene.step(act.id)) and step.suspect for act in acts)
    targets = tuple(target for act in acts for target in scene.aims(act))
    witnessed = _witnessed(scene, acts)
    return Candidate(
        FaultClass.SKIPPED,
        first.id,
        first.id,
        (("first", first.id), ("last", last.id)) if len(acts) > 1 else (),
        "",
        tuple(Drop(act.id) for act in acts),
        (),
        math.log2(max(len(scene.history), 2)) + len(acts[:2]) - _SUSPECTED * suspected,
        targets,
        # Without a witness only a log that is complete indeed makes anything sure.
        _surviving(scene, targets) if witnessed else frozenset(),
        certain=witnessed or scene.covered(targets),
    )


def _surviving(scene: Scene, targets: Sequence[Target]) -> frozenset[str]:
    """Nothing has overwritten what was there before; but the number of a row that a sequence
    would have given it may be another's by now."""
    columns = frozenset(column for target in targets for column in target.columns)
    numbered = {sequence.owned_by[0] for sequence in scene.schema.sequences if sequence.owned_by}
    sure = all(target.op != "insert" or target.table not in numbered for target in targets)
    return columns | {""} if sure else columns


def _witnessed(scene: Scene, acts: Sequence[Act]) -> bool:
    """Somebody or something saw that the steps did not happen, or that they were lost."""
    names: dict[str, object] = {"acts": [act.id for act in acts]}
    reported = (step.rows for act in acts if (step := scene.step(act.id)) is not None)
    if accused(scene, (act.id for act in acts)) or 0 in reported:
        return True
    (lost,) = _numbers(scene, _OPEN, names)
    if lost >= _LOST_MIN or (lost > 1 and _crashed(scene)):
        return True
    typed = [
        f"{target.table}\x1f{column}"
        for act in acts
        for target in scene.aims(act)
        for column in sorted(target.columns)
    ]
    rows, still = _numbers(scene, _UNTOUCHED, {**names, "run": scene.base.run, "typed": typed})
    return 0 < rows == still


def _no_accident(scene: Scene, acts: Sequence[Act]) -> bool:
    """So many rows that nobody has put them back one by one, and no formula could have."""
    spared, missing, kept, sorts = _numbers(scene, _KEPT, {"acts": [act.id for act in acts]})
    if missing:
        return False
    reversible = any(injective_columns(text) for act in acts for text in act.statements)
    return spared >= _SPARED_MIN or (kept >= _KEPT_MIN and sorts >= _SORTS_MIN and not reversible)


def _crashed(scene: Scene) -> bool:
    return any(isinstance(step.action, Event) for step in scene.log.steps)


def _numbers(scene: Scene, query: str, names: Mapping[str, object]) -> tuple[int, ...]:
    row = scene.facts.execute(query, dict(names)).fetchone()
    assert row is not None
    return tuple(int(number) for number in row)


HYPOTHESIS = Hypothesis(FaultClass.SKIPPED, propose, told, admits=admits, asks=asks)
