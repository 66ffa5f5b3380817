"""missing-where: an UPDATE or DELETE ran without its WHERE, or without one of its conditions.

log:      UPDATE t SET a = a * 1.10 WHERE s = 3
executed: UPDATE t SET a = a * 1.10
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from recovery.deviation import Replace
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.looks import aim, before, instead, sight
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import (
    Target,
    injective_columns,
    targets,
    without_each_condition,
    without_where,
)
from recovery.messages import message
from recovery.model import Act, FaultClass, Variant


@dataclass(frozen=True, slots=True)
class _Lost:
    """The `place`-th statement of an act without (one of) its conditions."""

    act: Act
    place: int
    parameters: tuple[tuple[str, str], ...]
    text: str
    bits: float
    aimed: Target

    def variant(self, scene: Scene) -> Variant:
        return instead(self.act, self.place, self.text, self.aimed, scene.schema)


def ask(scene: Scene) -> Iterator[Variant]:
    for lost in _lost(scene):
        yield lost.variant(scene)
        if lost.aimed.columns:
            table = scene.schema.table(lost.aimed.table)
            yield before(lost.act, lost.place, table, tuple(sorted(lost.aimed.columns)))


def propose(scene: Scene) -> Iterator[Candidate]:
    seen = [(sight(scene, lost.act, lost.variant(scene)), lost) for lost in _lost(scene)]
    likely = [(one.misses - one.hits, lost) for one, lost in seen if one.worth_trying]
    for _, lost in sorted(likely, key=lambda one: (one[0], one[1].act.id, one[1].text)):
        yield _candidate(lost, scene)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "Step {step} without its condition explains {hits} cells; they do not"
        " follow from the step as it was written down",
        step=candidate.step,
        hits=score.hits,
    )


def _lost(scene: Scene) -> Iterator[_Lost]:
    for act, _ in scene.doubted():
        for place, statement in enumerate(act.statements):
            aimed = aim(statement, scene.schema)
            if aimed is None or not scene.left(aimed.table, aimed.columns):
                continue
            for parameters, text, bits in _variants(statement):
                yield _Lost(act, place, parameters, text, bits, aimed)


def _variants(statement: str) -> Iterator[tuple[tuple[tuple[str, str], ...], str, float]]:
    whole = without_where(statement)
    if whole is None:
        return
    yield (("dropped", "WHERE"),), whole, 1.0
    for condition, executed in without_each_condition(statement):
        yield (("dropped", condition),), executed, 2.0


def _candidate(lost: _Lost, scene: Scene) -> Candidate:
    act = lost.act
    statements = (*act.statements[: lost.place], lost.text, *act.statements[lost.place + 1 :])
    return Candidate(
        FaultClass.MISSING_WHERE,
        act.id,
        act.id,
        lost.parameters,
        lost.text,
        (Replace(act.id, statements),),
        (),
        lost.bits + math.log2(max(len(scene.history), 2)) + 3,
        targets(lost.text, scene.schema),
        injective_columns(lost.text),
    )


HYPOTHESIS = Hypothesis(FaultClass.MISSING_WHERE, propose, told, ask)
