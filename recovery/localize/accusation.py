"""Which step is it, when every step did what the log says? The current state has no difference
left to explain then, and only the customer's complaints tell: what would each step's absence
have changed?

A step is accused by the complaints that would not be there without it. It speaks against it when
cells that are known to be fine would be others as well, when right values that were given do not
come out, and when it did so much that a complaint about any of it says little. Rows may have been
left out as well: a step is accused by complaints about them when it would have written them without
one of its conditions. Less is said by a complaint about what a step had a part in and what others
changed since, or about another column of a row that it wrote. What a step should have been instead
nobody can read out of the data: unless right values confirm it, that is the question for a person.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from recovery.deviation import Replace
from recovery.localize.hypotheses import as_described
from recovery.localize.hypothesis import Candidate
from recovery.localize.looks import aim
from recovery.localize.scene import Scene
from recovery.localize.statement import without_each_condition
from recovery.localize.trial import Trial
from recovery.model import Act

ACCUSED_MAX = 24  # steps that are tried
_WIDER_MAX = 3  # of one step
_CONFIRMED_BY = 2  # right values that must come out before a target is believed
# Bits of a complaint: about a cell that is just as the step has left it, about one that it had a
# part in, and about one of a row in which it wrote another column.
_EXACT, _CELL, _ROW = 8.0, 6.0, 4.0
_WITHOUT = 3.0  # less, where the step should have had one condition less
_LEFT_OUT_MIN = 2  # complaints that accuse a step of nothing but what it has left out
_UNEXPLAINED = 3.3  # bits of a complaint that stays unexplained: one in ten is a mistake
_RIGHT, _RIGHT_MAX = 10.0, 3  # a right value that comes out the same, or does not
_FINE = 6.0
_SIZE_MIN, _SIZE_MAX = -8.0, 2.0

# Acts that wrote what is complained about, then those that wrote anything else of the rows, then
# those that wrote such columns of other rows; the last first.
_SUSPECTS = """
WITH wrong AS (SELECT * FROM complaint WHERE NOT fine AND NOT answered),
place AS (SELECT unnest($acts::VARCHAR[]) AS step, generate_subscripts($acts, 1) AS place),
wrote AS (
    SELECT e.step, count(DISTINCT w.number) FILTER (w."column" IN ('', e."column")) AS cells,
           count(DISTINCT w.number) AS rows
    FROM effect e
    LEFT JOIN wrong w ON w."table" = e."table" AND w.key = e.key
    WHERE e.run = $run GROUP BY e.step),
beside AS (
    SELECT e.step, count(DISTINCT w.number) AS columns
    FROM (SELECT DISTINCT step, "table", "column" FROM effect WHERE run = $run) e
    JOIN wrong w ON w."table" = e."table" AND w."column" = e."column" GROUP BY e.step)
SELECT step FROM wrote JOIN place USING (step) LEFT JOIN beside USING (step)
ORDER BY cells DESC, rows DESC, coalesce(columns, 0) DESC, place DESC
"""

# Of each open complaint: does the step account for it to the letter, by the forecast of its
# deviation that was scored last; has it a part in that cell; or in another one of the row?
_HEARD = """
WITH wrong AS (SELECT * FROM complaint WHERE NOT fine AND NOT answered),
exact AS (
    SELECT DISTINCT w.number FROM wrong w JOIN seen s ON s."table" = w."table" AND s.key = w.key
     AND (w."column" IN ('', s."column") OR s."column" = '')
    WHERE s.current IS NOT DISTINCT FROM s.base),
foretold AS (
    SELECT DISTINCT w.number FROM wrong w JOIN forecast p ON p.name = $name
     AND p."table" = w."table" AND p.key = w.key
     AND (w."column" IN ('', p."column") OR p."column" = '')),
wrote AS (
    SELECT w.number, bool_or(w."column" IN ('', e."column") OR e."column" = '') AS cell
    FROM wrong w JOIN effect e ON e.run = $run AND e.step = $act AND e."table" = w."table"
     AND e.key = w.key
    GROUP BY w.number)
SELECT number, exact.number IS NOT NULL, foretold.number IS NOT NULL OR coalesce(cell, false)
FROM wrong LEFT JOIN exact USING (number) LEFT JOIN foretold USING (number)
LEFT JOIN wrote USING (number)
WHERE exact.number IS NOT NULL OR foretold.number IS NOT NULL OR wrote.number IS NOT NULL
"""

# Complaints about what a statement writes, in rows that the act has left alone.
_LEFT_OUT = """
SELECT count(*) FROM complaint c
WHERE NOT c.fine AND NOT c.answered AND c."table" = $table
  AND (list_contains($columns::VARCHAR[], c."column")
       OR (c."table", c."column") IN (SELECT ("table", "column") FROM unstable))
  AND NOT EXISTS (FROM effect e WHERE e.run = $run AND e.step = $act AND e."table" = c."table"
                  AND e.key = c.key)
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """A deviation of an accused step, and per complaint the bits that it speaks for the step."""

    trial: Trial
    bits: Mapping[int, float]
    direct: frozenset[int]  # complaints about cells that the step had a part in


@dataclass(frozen=True, slots=True)
class Charge:
    """An accused step: how many bits the complaints speak for it, and which of them do."""

    trial: Trial
    bits: float
    complaints: frozenset[int]


def accused(scene: Scene) -> Iterator[Sequence[Candidate]]:
    """Steps that may be what the open complaints are about, the likeliest first, each with what it
    may have been instead: not done at all, or done to more rows. Steps of which the log says what
    was meant are not among them: they were to be done."""
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
        not_at_all = replace(as_described.not_at_all(acts[str(name)], scene), confirmed=False)
        yield (not_at_all, *_wider(scene, not_at_all, acts[str(name)]))


def _wider(scene: Scene, candidate: Candidate, act: Act) -> Sequence[Candidate]:
    """The act without one of its conditions, where complaints are about rows that it has left
    alone. Without any it would take every row: that says nothing of these."""
    found: list[Candidate] = []
    for place, text in enumerate(act.statements):
        aimed = aim(text, scene.schema)
        if (
            aimed is None
            or not aimed.columns
            or not _left_out(scene, act, aimed.table, aimed.columns)
        ):
            continue
        for dropped, wider in without_each_condition(text):
            statements = (*act.statements[:place], wider, *act.statements[place + 1 :])
            said = (("without", dropped),)
            meant = (Replace(act.id, statements),)
            found.append(replace(candidate, parameters=said, meant=meant))
    return found[:_WIDER_MAX]


def _left_out(scene: Scene, act: Act, table: str, columns: frozenset[str]) -> bool:
    names = {"table": table, "columns": sorted(columns), "run": scene.base.run, "act": act.id}
    row = scene.facts.execute(_LEFT_OUT, names).fetchone()
    return row is not None and row[0] > 0


def listen(scene: Scene, trial: Trial) -> Heard:
    """What complaints say for a deviation whose forecast was scored last."""
    names = {"name": trial.name, "run": scene.base.run, "act": trial.candidate.act}
    size = _size(scene.facts, trial.name)
    bits = {}
    direct = set()
    wider = bool(trial.candidate.parameters)
    for number, exact, cell in scene.facts.execute(_HEARD, names).fetchall():
        if exact and wider:
            bits[int(number)] = _EXACT - _WITHOUT + size
        elif not wider:
            bits[int(number)] = (_EXACT if exact else _CELL if cell else _ROW) + size
            if cell:
                direct.add(int(number))
    return Heard(trial, bits, frozenset(direct))


def charged(scene: Scene, ways: Sequence[Heard]) -> Charge | None:
    """What speaks for one step, by all that it may have been instead; None when too little does.
    Two right values or more that come out, and no complaint that stays open, confirm that it
    should not have been done at all."""
    told = [one for one in ways if one.trial.score.hits + one.trial.score.others and one.bits]
    each = {
        number: max(one.bits.get(number, _SIZE_MIN) for one in told)
        for one in told
        for number in one.bits
    }
    if len(each) < _LEFT_OUT_MIN and not any(one.direct for one in told):
        return None
    best = max(told, key=lambda one: sum(one.bits.values()))
    heard, left = best.trial.score.agreement, _open(scene.facts)
    bits = sum(each.values()) - _UNEXPLAINED * (left - len(each))
    bits += _RIGHT * (min(heard.right, _RIGHT_MAX) - heard.against) - _FINE * heard.fine
    if bits <= 0:
        return None
    spoken_against = heard.against or heard.fine or left > heard.explained
    at_all = not best.trial.candidate.parameters
    confirmed = at_all and heard.right >= _CONFIRMED_BY and not spoken_against
    candidate = replace(best.trial.candidate, confirmed=confirmed)
    judged = replace(best.trial.score, fit=bits, gain=bits)
    return Charge(Trial(candidate, judged, best.trial.name), bits, frozenset(each))


def settle(facts: duckdb.DuckDBPyConnection, charge: Charge) -> None:
    """The step was found: nobody else is accused of the same."""
    numbers = sorted(charge.complaints)
    facts.execute(
        "UPDATE complaint SET answered = true WHERE list_contains(?::INTEGER[], number)", [numbers]
    )


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
