"""partial: a step stopped half-way. The first of its statements took effect and the others did not,
or, of a statement that went through rows in the order of their key, or listed them, the first rows.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 1.10 WHERE s = 3 AND id <= 170

Where it stopped is found in one pass: the cut that has most of what is done before it, and most of
what is not behind it.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from diffing.model import Table
from recovery.deviation import Replace
from recovery.localize.aims import (
    alias,
    first_rows,
    joins,
)
from recovery.localize.conditions import literal
from recovery.localize.hits import Look, in_question, lay_verge, looks
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import aim, instead
from recovery.localize.predicates import (
    plain,
    with_condition,
)
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.sides import certain, kept_alone, sides, speaks_for
from recovery.localize.statement import injective_columns, targets
from recovery.messages import message
from recovery.model import Act, Event, FaultClass, Variant

_ONE_TRANSACTION = 3.0  # bits: what runs in one transaction does not stop half-way

# What a statement of an act writes, and no other statement after it: is it there?
_DONE = """
SELECT count(*) FILTER (r.key IS NULL), count(*) FILTER (r.key IS NOT NULL)
FROM sketch v
JOIN finals f ON f."table" = v."table" AND f.key = v.key AND f."column" = v."column"
     AND f.act = $act
LEFT JOIN residue r ON r."table" = v."table" AND r.key = v.key AND r."column" = v."column"
LEFT JOIN unstable u ON u."table" = v."table" AND u."column" = v."column"
WHERE v.variant = $variant AND u."column" IS NULL AND (v."column" = ''
      OR v.value IS NOT DISTINCT FROM f.value AND f.value IS DISTINCT FROM f.start)
"""
_CAME = """
SELECT count(*) FILTER (r.key IS NULL), count(*) FILTER (r.key IS NOT NULL)
FROM finals f LEFT JOIN residue r ON r."table" = f."table" AND r.key = f.key AND r."column" = ''
WHERE f."table" = $table AND f.act = $act AND f."column" = '' AND f.came AND f.there
"""

# The last row before the cut, how many rows were done before it, how many are left out behind it,
# and how many are on the wrong side.
_CUT = """
WITH line AS (
    SELECT key, position, hit,
           sum(CASE WHEN hit THEN 1 ELSE -1 END) OVER (ORDER BY position) AS upto
    FROM verge WHERE member),
cut AS (SELECT first(position ORDER BY upto DESC, position) AS position FROM line)
SELECT (SELECT key FROM line JOIN cut USING (position)),
       count(*) FILTER (hit AND line.position <= cut.position),
       count(*) FILTER (NOT hit AND line.position > cut.position),
       count(*) FILTER (hit <> (line.position <= cut.position))
FROM line, cut
"""
_CUT_OF_NEW = """
WITH line AS (
    SELECT e.key, row_number() OVER (ORDER BY e.ordinal) AS position, r.key IS NULL AS hit
    FROM effect e
    LEFT JOIN residue r ON r."table" = e."table" AND r.key = e.key AND r."column" = ''
    WHERE e.run = $run AND e.step = $act AND e."table" = $table AND e.op = 'insert'
      AND e."column" = ''),
sums AS (
    SELECT *, sum(CASE WHEN hit THEN 1 ELSE -1 END) OVER (ORDER BY position) AS upto FROM line),
cut AS (SELECT first(position ORDER BY upto DESC, position) AS position FROM sums)
SELECT cut.position,
       count(*) FILTER (hit AND line.position <= cut.position),
       count(*) FILTER (NOT hit AND line.position > cut.position),
       count(*) FILTER (hit <> (line.position <= cut.position))
FROM line, cut GROUP BY cut.position
"""


@dataclass(frozen=True, slots=True)
class _Cut:
    """What an act did before it stopped. Of `done` (statements or rows) of `all`; `last` is the
    last row that was done, '' when the cut is between statements."""

    act: Act
    executed: tuple[str, ...]
    done: int
    all: int
    last: str
    bits: float
    sure: bool


def ask(scene: Scene) -> Iterator[Variant]:
    for look in looks(scene):
        yield look.variant(scene.schema)
    for act in _scripts(scene):
        for _, variant in _own(scene, act):
            yield variant


def propose(scene: Scene) -> Iterator[Candidate]:
    cuts = (*_between_statements(scene), *_between_rows(scene), *_between_new_rows(scene))
    for cut in cuts:
        yield _candidate(cut, scene)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where it cannot be that somebody took the rest back."""
    found = sides(scene.facts, candidate.act, candidate.targets)
    if speaks_for(found, witness, candidate.statement) or _stopped(scene, candidate.act):
        return True
    said = dict(candidate.parameters)
    if "last row" not in said:
        act = next(act for act in scene.history if act.id == candidate.act)
        rest = act.statements[int(said["done"]) :]
        return kept_alone(found, reversible=any(injective_columns(text) for text in rest))
    # Rows left out behind a cut and nowhere before it: a formula could have put them back, but
    # whoever does that does not go by the key.
    return kept_alone(found, reversible=False)


def told(candidate: Candidate, score: Score) -> str:
    said = dict(candidate.parameters)
    if "last row" in said:
        return message(
            "Step {step} stopped after {done} of {all} rows, the last of them {last}: {hits} cells"
            " and rows behind it are as they were",
            step=candidate.step,
            done=said["done"],
            all=said["of"],
            last=said["last row"],
            hits=score.hits,
        )
    return message(
        "Step {step} stopped after {done} of {all} statements: {hits} cells and rows of the rest"
        " are as they were",
        step=candidate.step,
        done=said["done"],
        all=said["of"],
        hits=score.hits,
    )


def _scripts(scene: Scene) -> Iterator[Act]:
    """Acts of several statements, of which something is not there."""
    return (act for act in in_question(scene) if len(act.statements) > 1)


def _own(scene: Scene, act: Act) -> Iterator[tuple[int, Variant]]:
    """Looks at what the statements of an act write."""
    for place, text in enumerate(act.statements):
        aimed = aim(text, scene.schema)
        if aimed is not None:
            yield place, instead(act, place, text, aimed, scene.schema)


def _between_statements(scene: Scene) -> Iterator[_Cut]:
    for act in _scripts(scene):
        gains = _gains(scene, act)
        best = max(range(1, len(gains)), key=lambda cut: sum(gains[:cut]) - sum(gains[cut:]))
        if sum(gains[:best]) > 0 > sum(gains[best:]):
            bits = math.log2(len(gains)) + _ONE_TRANSACTION * (act.transaction == "one")
            sure = _stopped(scene, act.id) or _said(scene, act)
            yield _Cut(act, act.statements[:best], best, len(gains), "", bits, sure)


def _gains(scene: Scene, act: Act) -> list[int]:
    """Per statement: what of it is there, less what is not."""
    variants = dict(_own(scene, act))
    gains = []
    for place, text in enumerate(act.statements):
        names: dict[str, object] = {"act": act.id}
        if place in variants:
            names["variant"] = variants[place].id
            row = scene.facts.execute(_DONE, names).fetchone()
        else:
            aimed = [one for one in targets(text, scene.schema) if one.op == "insert"]
            names["table"] = aimed[0].table if aimed else ""
            row = scene.facts.execute(_CAME, names).fetchone()
        assert row is not None
        gains.append(int(row[0]) - int(row[1]))
    return gains


def _between_rows(scene: Scene) -> Iterator[_Cut]:
    for look in looks(scene):
        if not lay_verge(scene, look):
            continue
        row = scene.facts.execute(_CUT).fetchone()
        assert row is not None
        key, done, left, wrong = row
        if key is None or not done or not left or wrong * 10 > left:
            continue
        table = scene.schema.table(look.aimed.table)
        executed = with_condition(look.text, _up_to(look, table, str(key)))
        statements = (*look.act.statements[: look.place], executed)
        rest = look.act.statements[look.place + 1 :]
        sure = certain(scene, look) or _stopped(scene, look.act.id)
        bits = math.log2(max(done + left, 2)) + _ONE_TRANSACTION
        yield _Cut(look.act, (*statements, *rest), done, done + left, str(key), bits, sure)


def _up_to(look: Look, table: Table, key: str) -> str:
    """A condition that takes the rows up to this key."""
    values = json.loads(key)
    called = (alias(look.text),) if joins(look.text) else ()
    left = [sql.Identifier(*called, column.name) for column in table.key_columns]
    right = [literal(column, values[column.name]) for column in table.key_columns]
    pair = [sql.SQL(", ").join(left), sql.SQL(", ").join(right)]
    shape = "{} <= {}" if len(left) == 1 else "({}) <= ({})"
    return plain(sql.SQL(shape).format(*pair).as_string(None))


def _between_new_rows(scene: Scene) -> Iterator[_Cut]:
    """Of an INSERT that lists its rows: the first ones."""
    for act in in_question(scene):
        for place, text in enumerate(act.statements):
            aimed = [one for one in targets(text, scene.schema) if one.op == "insert"]
            if len(aimed) != 1 or not scene.left(aimed[0].table, frozenset()):
                continue
            row = scene.facts.execute(
                _CUT_OF_NEW, {"run": scene.base.run, "act": act.id, "table": aimed[0].table}
            ).fetchone()
            if row is None or not row[1] or not row[2] or row[3] * 10 > row[2]:
                continue
            cut, done, left, _ = (int(number) for number in row)
            executed = first_rows(text, cut)
            if executed is not None:
                statements = (*act.statements[:place], executed, *act.statements[place + 1 :])
                sure = _stopped(scene, act.id) or _said(scene, act)
                bits = math.log2(max(done + left, 2))
                yield _Cut(act, statements, done, done + left, str(cut), bits, sure)


def _stopped(scene: Scene, act: str) -> bool:
    """Does the log say that something broke down right then?"""
    names = [step.id for step in scene.log.steps]
    following = scene.log.steps[names.index(act) + 1 :][:1] if act in names else ()
    return any(isinstance(step.action, Event) for step in following)


def _said(scene: Scene, act: Act) -> bool:
    """Do people say that something is wrong with the step, or that the log holds every change?"""
    step = scene.step(act.id)
    return scene.covered(scene.aims(act)) or (step is not None and step.suspect)


def _candidate(cut: _Cut, scene: Scene) -> Candidate:
    act = cut.act
    aimed = scene.aims(act)
    step = scene.step(act.id)
    assert step is not None
    said = [("done", str(cut.done)), ("of", str(cut.all))]
    said += [("last row", cut.last)] if cut.last else []
    return Candidate(
        FaultClass.PARTIAL,
        act.id,
        act.id,
        tuple(said),
        ";\n".join(cut.executed),
        (Replace(act.id, cut.executed),),
        (),
        cut.bits + math.log2(max(len(scene.history), 2)) + 3,
        aimed,
        _spared(act.statements, cut.executed, scene),
        confirmed=step.describes == "intended" or cut.sure,
        certain=cut.sure,
    )


def _spared(logged: Sequence[str], executed: Sequence[str], scene: Scene) -> frozenset[str]:
    """Columns whose former values nothing has overwritten beyond recognition: what was done is
    done rightly, and what was not done has left them alone. A row that did not come has the
    number that it was to have, unless a sequence gives the numbers."""
    columns = {
        column
        for text in logged
        for target in targets(text, scene.schema)
        for column in target.columns
    }
    for text in executed:
        for target in targets(text, scene.schema):
            columns -= target.columns - injective_columns(text) if text in logged else set()
    numbered = {sequence.owned_by[0] for sequence in scene.schema.sequences if sequence.owned_by}
    new = {one.table for text in logged for one in targets(text, scene.schema)
           if one.op == "insert"}  # fmt: skip
    return frozenset(columns if new & numbered else columns | {""})


HYPOTHESIS = Hypothesis(FaultClass.PARTIAL, propose, told, ask, admits)
