"""too-narrow: an UPDATE or DELETE ran with one more condition in its WHERE.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 1.10 WHERE s = 3 AND kind = 'book'

The condition is read from the rows that should have been changed: those that were are described by
it, those that were not are not. Under a partial log the nearest rival is somebody who took the
change back on some of them.
"""

import math
from collections.abc import Iterator

from recovery.deviation import Replace
from recovery.localize.aims import faithful_columns
from recovery.localize.conditions import Condition, conditions
from recovery.localize.hits import Look, lay_verge, looks, members
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.predicates import plain, with_condition
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.sides import certain, kept_alone, sides, speaks_for, which_of_two
from recovery.localize.statement import injective_columns, targets
from recovery.messages import message
from recovery.model import FaultClass, Variant

_MORE_BITS = 3.0  # a condition that nobody has written down is a surprise in itself
_MOST = 1.1  # nearly all rows that were changed are described
_TRIED_MAX = 3  # conditions of one statement that are tried


def ask(scene: Scene) -> Iterator[Variant]:
    for look in looks(scene):
        yield look.variant(scene.schema)
        yield look.members(scene.schema)


def propose(scene: Scene) -> Iterator[Candidate]:
    for look in looks(scene):
        if lay_verge(scene, look) and _some_kept(scene):
            sure = certain(scene, look)
            for one in _conditions(scene, look):
                yield _candidate(one, look, scene, sure=sure)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where it cannot be that somebody took the change back on those rows."""
    found = sides(scene.facts, candidate.act, candidate.targets)
    text = candidate.statement
    reversible = bool(injective_columns(text))
    return speaks_for(found, witness, text) or kept_alone(found, reversible=reversible)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "Step {step} with one more condition, {added}, explains why {hits} cells are as they were"
        " before it",
        step=candidate.step,
        added=dict(candidate.parameters)["added"],
        hits=score.hits,
    )


def _some_kept(scene: Scene) -> bool:
    """Were some rows changed, as they should have been, and some not?"""
    row = scene.facts.execute(
        "SELECT count(*) FILTER (hit), count(*) FILTER (NOT hit) FROM verge WHERE member"
    ).fetchone()
    assert row is not None
    return bool(row[0] and row[1])


def _conditions(scene: Scene, look: Look) -> list[Condition]:
    """Short conditions that describe the rows that were changed. Another constant of a condition
    that the log has, and a run of keys from the first on, are mistakes of other classes."""
    compared = {one.column for one in look.conditions if one.kind != "other"}
    key = scene.schema.table(look.aimed.table).key.columns
    found = []
    sample = members(scene, look)
    wanted = sum(one is True for one in sample.wanted)
    for one in conditions(sample):
        names = {atom.column.name for atom in one.atoms}
        first_keys = any(
            atom.kind == "range" and atom.values[0] is None and key == (atom.column.name,)
            for atom in one.atoms
        )
        telling = one.merit > 0 and one.met * _MOST >= wanted
        if names and telling and not names & compared and not first_keys:
            found.append(one)
    return found[:_TRIED_MAX]


def _candidate(one: Condition, look: Look, scene: Scene, *, sure: bool) -> Candidate:
    act, place = look.act, look.place
    added = plain(one.text().as_string(None))
    executed = with_condition(look.text, added)
    statements = (*act.statements[:place], executed, *act.statements[place + 1 :])
    aimed = targets(executed, scene.schema)
    step = scene.step(act.id)
    assert step is not None
    return Candidate(
        FaultClass.TOO_NARROW,
        act.id,
        act.id,
        (("added", added),),
        executed,
        (Replace(act.id, statements),),
        (),
        one.bits + math.log2(max(len(scene.history), 2)) + 3 + _MORE_BITS,
        aimed,
        faithful_columns(executed),
        confirmed=scene.tells_what_was_meant(step, aimed),
        certain=sure,
    )


HYPOTHESIS = Hypothesis(FaultClass.TOO_NARROW, propose, told, ask, admits, asks=which_of_two)
