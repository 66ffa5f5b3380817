"""One step being tried: what it did so far, what is known about where its ids begin, and which
tables have to be told whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recovery.model import Act, Outcome, StepOutcome
from recovery.replay.identity import Feed
from recovery.replay.stands import Stands
from recovery.replay.transactions import Batch


class IdsFound(Exception):
    """Rolls the step back, so that it is run again with the ids it issued then."""

    def __init__(self, last: Mapping[str, int]) -> None:
        super().__init__()
        self.last = last


class Unheard(Exception):
    """Rolls the step back, so that it is run again with the rows of these tables kept before."""

    def __init__(self, tables: frozenset[str]) -> None:
        super().__init__()
        self.tables = tables


class Refused(Exception):
    """The server refused a statement, for the reason that is the message."""


class Unsupplied(Refused):
    """A statement reads data that nobody handed over: it may well have worked for the customer."""


@dataclass(slots=True)
class Account:
    """What a step did so far. `reasons` say why what it did is not told whole."""

    rows: int = 0
    written: dict[str, int] = field(default_factory=dict)
    complete: bool = True
    altered: bool = False
    reasons: list[str] = field(default_factory=list)

    def add(self, written: Mapping[str, int]) -> None:
        for table, count in written.items():
            self.written[table] = self.written.get(table, 0) + count

    def told(self, act: Act, outcome: Outcome, why: str = "") -> StepOutcome:
        written = sum(self.written.values())
        return StepOutcome(
            act.id,
            outcome,
            why or "; ".join(dict.fromkeys(self.reasons)),
            self.rows,
            written,
            self.complete,
            self.altered,
        )


@dataclass(slots=True)
class Trial:
    """One batch of an act being tried. `start` is where the sequences that feed keys stood, `last`
    where they are set to instead, when that is known; `stood` is where all of them stood."""

    act: Act
    name: str
    batch: Batch
    feeds: tuple[Feed, ...]
    start: dict[str, int]
    last: Mapping[str, int] | None
    stood: Stands
    rounds: int = 0
    settled: bool = False

    @property
    def begun(self) -> dict[str, int]:
        return self.start | dict(self.last or {})
