"""A hypothesis: which step went wrong and how, as two histories that can both be run."""

from dataclasses import dataclass, replace

from recovery.localize.statement import Target
from recovery.model import FaultClass, History


@dataclass(frozen=True, slots=True)
class Candidate:
    """`faulty` is what would have happened, `target` what should have. `bits` is the price of
    believing it before looking at the data: the shorter the description, the likelier."""

    step: str
    fault_class: FaultClass
    parameters: tuple[tuple[str, str], ...]
    statement: str  # what was really executed
    faulty: History
    target: History
    bits: float
    targets: tuple[Target, ...]
    place: int = 0  # which of the step's statements
    injective: frozenset[str] = frozenset()  # columns the faulty statement maps one to one


def with_statements(history: History, step: str, statements: tuple[str, ...]) -> History:
    """The history in which this step runs other statements; none: it did not happen."""
    if not statements:
        return tuple(act for act in history if act.id != step)
    return tuple(replace(act, statements=statements) if act.id == step else act for act in history)
