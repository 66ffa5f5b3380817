"""wrong-predicate: an UPDATE or DELETE ran with another constant, operator or AND/OR in its WHERE.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 1.10 WHERE s = 4

Rows wrongly changed and rows wrongly left out are both its damage. Another key is another row, and
a mistake of another class. The condition is read from the
rows: those that were hit and those that were not are separated by it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recovery.deviation import Replace
from recovery.localize.aims import faithful_columns
from recovery.localize.hits import Look, lay_verge, looks
from recovery.localize.hypothesis import Candidate, Hypothesis, Witness
from recovery.localize.looks import before, instead, sight
from recovery.localize.predicates import conditions, junctions, negated, opposite
from recovery.localize.readings import Reading, names_rows, readings
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.sides import certain, kept_alone, sides, speaks_for, which_of_two
from recovery.localize.statement import injective_columns, targets
from recovery.messages import message
from recovery.model import FaultClass, Variant

_SWAP_BITS = 2.0
_PER_ROW = 4.0
_TRIED_MAX = 4  # readings of one statement that are tried


@dataclass(frozen=True, slots=True)
class _Other:
    """A condition as it is written and as it was run; `weight`: rows that speak for it."""

    logged: str
    executed: str
    statement: str
    bits: float
    weight: int = 0
    certain: bool = True

    @property
    def merit(self) -> float:
        return _PER_ROW * self.weight - self.bits


def ask(scene: Scene) -> Iterator[Variant]:
    for look in _looks(scene):
        yield look.variant(scene.schema)
        for other in _rewritten(look):
            yield instead(look.act, look.place, other.statement, look.aimed, scene.schema)
        if look.aimed.columns:
            table = scene.schema.table(look.aimed.table)
            yield before(look.act, look.place, table, tuple(sorted(look.aimed.columns)))


def propose(scene: Scene) -> Iterator[Candidate]:
    found = [(other, look) for look in _looks(scene) for other in _likely(scene, look)]
    for other, look in sorted(found, key=lambda one: (-one[0].merit, one[0].statement)):
        yield _candidate(other, look, scene)


def admits(scene: Scene, candidate: Candidate, score: Score, witness: Witness) -> bool:
    """Only where it cannot be that somebody did the same to more rows, or took it back on some."""
    found = sides(scene.facts, candidate.act, candidate.targets)
    text = candidate.statement
    reversible = bool(injective_columns(text))
    return speaks_for(found, witness, text) or kept_alone(found, reversible=reversible)


def told(candidate: Candidate, score: Score) -> str:
    logged, executed = (value for _, value in candidate.parameters)
    return message(
        "Step {step} with the condition {executed} in the place of {logged} explains {hits}"
        " cells: some that it changed and should not have, or some that it left out",
        step=candidate.step,
        executed=executed,
        logged=logged,
        hits=score.hits,
    )


def _looks(scene: Scene) -> Iterator[Look]:
    return (look for look in looks(scene) if look.conditions)


def _likely(scene: Scene, look: Look) -> Sequence[_Other]:
    """The best readings; of those that say the same in other words, the shortest."""
    found = sorted(_others(scene, look), key=lambda one: (-one.merit, one.statement))
    return [one for one in found if one.merit * 2 >= found[0].merit][:_TRIED_MAX]


def _others(scene: Scene, look: Look) -> Iterator[_Other]:
    sure = lay_verge(scene, look) and certain(scene, look)
    for other in _rewritten(look):
        variant = instead(look.act, look.place, other.statement, look.aimed, scene.schema)
        seen = sight(scene, look.act, variant)
        if seen.worth_trying:
            weight = seen.hits - seen.misses
            yield replace(other, weight=weight, certain=sure)
    key = scene.schema.table(look.aimed.table).key.columns
    for condition in look.conditions:
        if condition.kind == "other":
            continue
        alike: dict[tuple[int, int, int], Reading] = {}
        for one in sorted(readings(scene, look, condition), key=lambda one: (one.bits, one.text)):
            if not names_rows(one.executed, key):
                alike.setdefault((one.extra, one.kept, one.wrong), one)
        for one in alike.values():
            weight = one.extra + one.kept - one.wrong
            yield _Other(condition.text, one.text, one.statement, one.bits, weight, sure)


def _rewritten(look: Look) -> Iterator[_Other]:
    """Mistakes that need nothing from the data."""
    for one in junctions(look.text):
        yield _Other(one.logged, one.executed, one.statement, _SWAP_BITS)
    for condition in conditions(look.text):
        if condition.kind != "compare":
            statement = negated(look.text, condition)
            yield _Other(condition.text, opposite(condition), statement, _SWAP_BITS + 1)


def _candidate(other: _Other, look: Look, scene: Scene) -> Candidate:
    act, place = look.act, look.place
    statements = (*act.statements[:place], other.statement, *act.statements[place + 1 :])
    step = scene.step(act.id)
    assert step is not None
    aimed = targets(other.statement, scene.schema)
    return Candidate(
        FaultClass.WRONG_PREDICATE,
        act.id,
        act.id,
        (("logged", other.logged), ("executed", other.executed)),
        other.statement,
        (Replace(act.id, statements),),
        (),
        other.bits
        + math.log2(max(len(look.conditions), 1))
        + math.log2(max(len(scene.history), 2))
        + 3,
        aimed,
        faithful_columns(other.statement),
        confirmed=scene.tells_what_was_meant(step, aimed),
        certain=other.certain,
    )


HYPOTHESIS = Hypothesis(FaultClass.WRONG_PREDICATE, propose, told, ask, admits, asks=which_of_two)
