"""Which step is it, when every step did what the log says? The current state has no difference
left to explain then, and only the customer's complaints tell: what would each step's absence
have changed?

A step is accused by the complaints that would not be there without it. It speaks against it when
cells that are known to be fine would be others as well, when right values that were given do not
come out, and when it did so much that a complaint about any of it says little. What a step should
have been instead nobody can read out of the data: unless right values confirm it, that is the
question for a person.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb

from recovery.localize.hypotheses import as_described
from recovery.localize.hypothesis import Candidate
from recovery.localize.scene import Scene
from recovery.localize.score import Score, complained

ACCUSED_MAX = 24  # steps whose absence is tried
_CONFIRMED_BY = 2  # right values that must come out before a target is believed
_UNEXPLAINED = 3.3  # bits of a complaint that stays unexplained: one in ten is a mistake
_SIZE_MIN, _SIZE_MAX = -8.0, 2.0

# Acts that wrote what is complained about, then those that wrote anything else, the last first.
_SUSPECTS = """
WITH wrong AS (SELECT * FROM complaint WHERE NOT fine AND NOT answered),
place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place),
wrote AS (
    SELECT e.step, count(DISTINCT w.number) FILTER (w."column" IN ('', e."column")) AS cells,
           count(DISTINCT w.number) AS rows
    FROM effect e
    LEFT JOIN wrong w ON w."table" = e."table" AND w.key = e.key
    WHERE e.run = $run GROUP BY e.step)
SELECT step FROM wrote JOIN place USING (step)
ORDER BY cells DESC, rows DESC, place DESC
"""


@dataclass(frozen=True, slots=True)
class Charge:
    """An accused step: how many bits the complaints speak for it."""

    candidate: Candidate
    bits: float


def accused(scene: Scene) -> Iterator[Candidate]:
    """Steps that may be what the open complaints are about, the likeliest first. Steps of which
    the log says what was meant are not among them: they were to be done."""
    if not _open(scene.facts):
        return
    acts = {act.id: act for act in scene.history if act.statements}
    rows = scene.facts.execute(_SUSPECTS, {"acts": list(acts), "run": scene.base.run}).fetchall()
    tried = 0
    for (name,) in rows:
        step = scene.step(str(name))
        if step is None or step.describes == "intended" or name in scene.taken:
            continue
        if tried == ACCUSED_MAX:
            return
        tried += 1
        yield replace(as_described.not_at_all(acts[str(name)], scene), confirmed=False)


def charged(scene: Scene, candidate: Candidate, name: str, judged: Score) -> Charge | None:
    """What speaks for the step, by its forecast of this name; None when nothing does. Two right
    values or more that come out, and no complaint that stays open, confirm that it should not
    have been done at all."""
    heard = judged.agreement
    if not heard.explained:
        return None
    left = _open(scene.facts) - heard.explained
    bits = complained(heard) + heard.explained * _size(scene.facts, name) - _UNEXPLAINED * left
    spoken_against = heard.against or heard.fine or left
    confirmed = heard.right >= _CONFIRMED_BY and not spoken_against
    return Charge(replace(candidate, confirmed=confirmed), bits)


def _size(facts: duckdb.DuckDBPyConnection, name: str) -> float:
    """A complaint about a cell of a small change says more than one about a cell of a large
    one: half of the bits that pick a cell, within bounds, because who does much harms much."""
    row = facts.execute("SELECT count(*) FROM forecast WHERE name = ?", [name]).fetchone()
    assert row is not None
    return min(_SIZE_MAX, max(_SIZE_MIN, 2.0 - math.log2(max(int(row[0]), 1)) / 2))


def _open(facts: duckdb.DuckDBPyConnection) -> int:
    row = facts.execute("SELECT count(*) FROM complaint WHERE NOT fine AND NOT answered").fetchone()
    assert row is not None
    return int(row[0])
