"""A hypothesis: which step went wrong and how. Each class of faults is a module of
`recovery/localize/hypotheses` with a `HYPOTHESIS`; the search asks them all the same questions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb

from diffing.model import Schema
from recovery.deviation import Deviations, Drop, Replace
from recovery.localize.complaints import NOTHING_SAID, Agreement
from recovery.localize.scene import Scene
from recovery.localize.score import Score
from recovery.localize.statement import Target
from recovery.model import Fault, FaultClass, Question, Step, Variant


@dataclass(frozen=True, slots=True)
class Candidate:
    """One supposition. `happened`, laid over the log, is what was done; `meant` is what should
    have been done (nothing: the log as it stands). `bits` is the price of believing it before
    looking at the data: the shorter the description, the likelier."""

    fault_class: FaultClass
    step: str  # of the log; '' when no step says it
    act: str  # of what was done: its writes are the fault's (for what was not done: the step)
    parameters: tuple[tuple[str, str], ...]
    statement: str  # what was really executed, for people; '' when there is none
    happened: Deviations
    meant: Deviations
    bits: float
    targets: tuple[Target, ...]
    injective: frozenset[str] = frozenset()  # columns the faulty statement maps one to one
    confirmed: bool = True  # False: only a person can say that this was the mistake
    certain: bool = True  # False: work that nobody wrote down could look like it; see `grade`

    @property
    def omitted(self) -> frozenset[str]:
        """Acts that should have been done and were not, or were done to other rows."""
        otherwise = {one.act for one in self.happened if isinstance(one, Drop | Replace)}
        return frozenset(otherwise | {one.act for one in self.meant if isinstance(one, Replace)})

    @property
    def acts(self) -> frozenset[str]:
        """All that the fault did or left undone."""
        return self.omitted | {self.act}


@dataclass(frozen=True, slots=True)
class Witness:
    """What speaks for a candidate besides the cells it explains. `last_writer`: who wrote the
    rows of the faulty act last, by touched-at columns."""

    step: Step | None
    rows_agree: bool  # the client program reported just the rows that the fault touches
    covered: bool  # the log says that it is complete for all tables in question
    last_writer: Literal["the step", "somebody", "unknown"]
    complaints: Agreement = NOTHING_SAID

    @property
    def vouched(self) -> bool:
        """People say so: the customer suspects the step, or complains about what it did and of
        nothing that speaks against it, or the reported rows agree."""
        complained = self.complaints.explained > self.complaints.fine + self.complaints.against
        suspected = self.step is not None and self.step.suspect
        return self.rows_agree or suspected or complained

    @property
    def twice_complained(self) -> bool:
        """One complaint may be a mistake, two of the same fault are none; and no word of the
        customer's speaks against it."""
        said = self.complaints
        return said.explained >= 2 and not (said.fine or said.against)

    @property
    def testified(self) -> bool:
        """A complaint, a suspicion or a log that holds everything speaks for it, and no word of
        the customer's against it: for what somebody may well have done on purpose."""
        said = self.complaints
        suspected = self.step is not None and self.step.suspect
        undisputed = not (said.fine or said.against)
        return undisputed and (said.explained > 0 or self.covered or suspected)


def nothing_to_ask(scene: Scene) -> Iterator[Variant]:
    return iter(())


def nothing_to_settle(
    facts: duckdb.DuckDBPyConnection, schema: Schema, candidate: Candidate, fault: str
) -> None:
    pass


def no_question(
    facts: duckdb.DuckDBPyConnection, candidate: Candidate, fault: Fault
) -> tuple[Question, ...]:
    return ()


def nobody(candidate: Candidate) -> bool:
    """Nobody wants that."""
    return False


def anybody(candidate: Candidate) -> bool:
    """Somebody may want that."""
    return True


def nothing_attests(scene: Scene, candidate: Candidate) -> bool:
    return False


def in_one_column(candidate: Candidate) -> bool:
    """Somebody may want to have one column otherwise; what several suffered at once was no
    purpose."""
    return sum(len(target.columns) for target in candidate.targets) <= 1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A class of faults.

    ask      looks to be taken while the history is replayed once (at each act, before it runs);
             the answers are the relation `sketch`
    propose  candidates, the likeliest first; only the first few are tried
    admits   whether the evidence is enough, when the log may lack legitimate work that explains
             the same (the cells are explained, that was tested before)
    told     one sentence (a message) that a person can check
    settle   what the class knows of single rows, once the fault of this name is graded: it may
             lower grades in `damage`, and add rows that a person has to decide about
    asks     questions to a person that come with the fault
    on_purpose  somebody may have wanted just that, and not written it down: without a witness
             nothing is surer than stale
    attested what a class takes for such a witness, beside people and a log that holds everything
    """

    fault_class: FaultClass
    propose: Callable[[Scene], Iterator[Candidate]]
    told: Callable[[Candidate, Score], str]
    ask: Callable[[Scene], Iterator[Variant]] = nothing_to_ask
    admits: Callable[[Scene, Candidate, Score, Witness], bool] = lambda *_: True
    settle: Callable[[duckdb.DuckDBPyConnection, Schema, Candidate, str], None] = nothing_to_settle
    asks: Callable[[duckdb.DuckDBPyConnection, Candidate, Fault], tuple[Question, ...]] = (
        no_question
    )
    on_purpose: Callable[[Candidate], bool] = nobody
    attested: Callable[[Scene, Candidate], bool] = nothing_attests
