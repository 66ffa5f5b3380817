"""as-described: the step did exactly what the log says, and that was the mistake. Its target is
the history without the step; whether a narrower statement was intended is the first question.
"""

from collections.abc import Iterator

from recovery.deviation import Drop
from recovery.localize.hypothesis import Candidate, Hypothesis
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import injective_columns
from recovery.messages import message
from recovery.model import Act, FaultClass


def propose(scene: Scene) -> Iterator[Candidate]:
    """Every step that the customer suspects and that was replayed."""
    for act in scene.history:
        step = scene.step(act.id)
        if step is not None and step.suspect and act.statements and act.id not in scene.taken:
            yield not_at_all(act, scene)


def told(candidate: Candidate, score: Score) -> str:
    return message(
        "Step {step} is suspected, and {hits} cells are today as it left them",
        step=candidate.step,
        hits=score.hits,
    )


def not_at_all(act: Act, scene: Scene) -> Candidate:
    """That the act should not have been done at all."""
    lines = [injective_columns(statement) for statement in act.statements]
    return Candidate(
        FaultClass.AS_DESCRIBED,
        act.id,
        act.id,
        (),
        ";\n".join(act.statements),
        (),
        (Drop(act.id),),
        0.0,
        scene.aims(act),
        lines[0] if len(lines) == 1 else frozenset(),
    )


HYPOTHESIS = Hypothesis(FaultClass.AS_DESCRIBED, propose, told)
