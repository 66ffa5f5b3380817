"""What a script is made for: everything that is not in the plan itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

OnMoved = Literal["refuse", "skip"]


@dataclass(frozen=True, slots=True)
class SampleRow:
    """An untouched row of the current evidence: its key's texts in key order, and its digest."""

    key: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class TableSample:
    table: str
    rows: tuple[SampleRow, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """How many copies of a staged row without key (`digest` is its `#row`) the evidence holds."""

    group: str
    digest: str
    count: int


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What of the current evidence the script carries to recognise its target."""

    samples: tuple[TableSample, ...] = ()
    copies: tuple[Copies, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptContext:
    """`made_at`, `reviewers`, `agreement` and `proof` reach the header only; everything else is
    part of the body, and so of its digest."""

    case: str  # the case's name
    made_at: datetime
    title: tuple[str, ...] = ()  # sentences: for whom and what
    reviewers: tuple[str, ...] = ()
    agreement: str = ""
    proof: tuple[str, ...] = ()
    database: str = ""  # the database of the evidence
    landmarks: Landmarks = Landmarks()
    on_moved: OnMoved = "refuse"
    keep_saved: bool = False
    lock_timeout_seconds: int = 10
    statement_timeout_seconds: int = 1800

    @property
    def saved_schema(self) -> str:
        """Where `keep_saved` leaves the old values: a name that fits into an identifier."""
        return ("dbmend_" + self.case).encode()[:63].decode(errors="ignore")
