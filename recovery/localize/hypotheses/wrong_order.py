"""wrong-order: two steps were carried out the other way round.

log:      UPDATE t SET a = a * 1.10 ...;  UPDATE t SET a = a + 5 ...
current:  (a + 5) * 1.10

Only steps that concern each other are tried: they wrote the same cells, or one reads a table that
the other writes; and only near ones, or those whose times overlap. Under a partial log it is
claimed where people say so. Where the times of the log leave the order open and many telling rows
speak for the other one, it is named, and what to do about it is left to a person.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from recovery.deviation import Deviation, Move
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.naming import named
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import injective_columns
from recovery.localize.witnesses import accused, in_this_order
from recovery.messages import message
from recovery.model import Act, FaultClass, Step

_NEAR = 3  # places in the log
_MEETING_MAX = 12  # further acts whose times overlap
_ACTS_MAX = 50  # acts whose neighbours are looked at, those with the most that is open first
_DATED = 4.0  # bits: the times of the log speak against it
_ROWS_MIN = 3
_VALUES_MIN = 3

_OPEN = """
SELECT act, count(*) FROM residue WHERE act <> '' GROUP BY act ORDER BY count(*) DESC, act
"""
# Per pair of acts the cells that are not as predicted, and that both of them wrote.
_SHARED = """
WITH wrote AS (
    SELECT DISTINCT e.step, e."table", e.key, e."column" FROM effect e
    JOIN (SELECT DISTINCT "table", key FROM residue) r ON r."table" = e."table" AND r.key = e.key
    WHERE e.run = $run)
SELECT count(*) FROM wrote a JOIN wrote b USING ("table", key, "column")
WHERE a.step = $first AND b.step = $second
"""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two acts in the order of the log. `between`: acts stand between them."""

    first: Act
    second: Act
    between: bool
    dated: bool  # the log's times say that this was their order
    open: int


def propose(scene: Scene) -> Iterator[Candidate]:
    rows = scene.facts.execute(_OPEN).fetchall()
    cells = {str(act): int(count) for act, count in rows}
    pairs = tuple(_pairs(scene, cells))
    for pair in sorted(pairs, key=lambda one: (-one.open, one.between, one.first.id)):
        yield from _candidates(scene, pair, cells, len(pairs))


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where somebody's later work is ruled out, or unlikely enough for a question."""
    if witness.covered or candidate.certain:
        return True
    first, second = (scene.step(name) for _, name in candidate.parameters)
    assert first is not None and second is not None
    telling = score.hit_rows >= _ROWS_MIN and score.values >= _VALUES_MIN
    return witness.vouched or (telling and not in_this_order(first, second))


def told(candidate: Candidate, score: Score) -> str:
    names = dict(candidate.parameters)
    return message(
        "Step {second} before step {first}, and not after it, explains {hits} cells and rows",
        first=names["first"],
        second=names["second"],
        hits=score.hits,
    )


def _pairs(scene: Scene, cells: dict[str, int]) -> Iterator[_Pair]:
    doubted = [(act, step) for act, step in scene.doubted() if act.statements]
    place = {act.id: number for number, (act, _) in enumerate(doubted)}
    seen = set()
    for name in [name for name in cells if name in place][:_ACTS_MAX]:
        at = place[name]
        for other in _near(doubted, at):
            low, high = min(at, other), max(at, other)
            (first, one), (second, two) = doubted[low], doubted[high]
            if (low, high) in seen or not _concern(scene, first, second):
                continue
            seen.add((low, high))
            between = scene.place(second.id) - scene.place(first.id) > 1
            left = cells.get(first.id, 0) + cells.get(second.id, 0)
            yield _Pair(first, second, between, in_this_order(one, two), left)


def _near(doubted: Sequence[tuple[Act, Step]], at: int) -> Iterator[int]:
    """Places of acts that may have been on the other side of this one."""
    for other in range(max(0, at - _NEAR), min(len(doubted), at + _NEAR + 1)):
        if other != at:
            yield other
    step = doubted[at][1]
    meeting = (
        other
        for other in sorted(range(len(doubted)), key=lambda other: abs(other - at))
        if abs(other - at) > _NEAR and _meet(step, doubted[other][1])
    )
    yield from islice(meeting, _MEETING_MAX)


def _meet(one: Step, other: Step) -> bool:
    timed = one.at is not None and other.at is not None
    return timed and not in_this_order(one, other) and not in_this_order(other, one)


def _concern(scene: Scene, first: Act, second: Act) -> bool:
    """Does one of them write a table that the other names?"""
    written = [{target.table for target in scene.aims(act)} for act in (first, second)]
    return bool(written[0] & named(second, scene.schema) or written[1] & named(first, scene.schema))


def _candidates(
    scene: Scene, pair: _Pair, cells: dict[str, int], pairs: int
) -> Iterator[Candidate]:
    first, second = pair.first, pair.second
    row = scene.facts.execute(
        _SHARED, {"run": scene.base.run, "first": first.id, "second": second.id}
    ).fetchone()
    shared = row is not None and int(row[0]) > 0
    # What came last has overwritten the other's work; else the one that read too much or too
    # little is wrong.
    guilty = first if shared or cells.get(first.id, 0) else second
    lines = [
        injective_columns(act.statements[0]) if len(act.statements) == 1 else frozenset[str]()
        for act in (first, second)
    ]
    targets = (*scene.aims(first), *scene.aims(second))
    witnessed = accused(scene, (first.id, second.id))
    for happened in _moves(scene, pair):
        yield Candidate(
            FaultClass.WRONG_ORDER,
            guilty.id,
            guilty.id,
            (("first", first.id), ("second", second.id)),
            "",
            (happened,),
            (),
            math.log2(max(pairs, 2)) + 3 + _DATED * pair.dated + pair.between,
            targets,
            # Without a witness only a log that is complete indeed makes anything sure.
            lines[0] & lines[1] if witnessed else frozenset(),
            certain=witnessed or scene.covered(targets),
        )


def _moves(scene: Scene, pair: _Pair) -> Iterator[Deviation]:
    """The first came behind the second; where others stand between, or the second before it."""
    yield Move(pair.first.id, pair.second.id)
    if pair.between:
        place = scene.place(pair.first.id) - 1
        yield Move(pair.second.id, scene.history[place - 1].id if place else "")


HYPOTHESIS = Hypothesis(FaultClass.WRONG_ORDER, propose, told, admits=admits)
