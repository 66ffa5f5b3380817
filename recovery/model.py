"""The words of a case: evidence, steps, faults, grades, plan, rehearsal. Reading this file and
`diffing/model.py` and `repair_rules/model.py` is reading the program.

Row-level facts (divergences, effects, damage, staged rows) are relations of the case database,
named in `recovery/case/facts.py`; the types here are one per finding, never one per row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Literal, Protocol


class Exit(IntEnum):
    """The one table of exit codes (contract; README repeats it and a test compares them)."""

    FINE = 0
    FINDINGS = 1
    UNUSABLE = 2
    COULD_NOT_TELL = 3
    REFUSED = 4
    BUG = 70
    INTERRUPTED = 130


class EngineError(Exception):
    """A verb cannot go on. `code` is what the process exits with, `where` the file, line or byte,
    `hint` what the person does next."""

    def __init__(self, code: Exit, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint


class Progress(Protocol):
    """Where a verb tells how far it is. `total` 0 means unknown."""

    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in what somebody handed us: file, line (0: whole file), what, and what to do."""

    file: str
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


# --- evidence -----------------------------------------------------------------------------------

# `other-backup`: of the same database, given beside the one the log starts from. `import` and
# `restore`: files that steps of the log name.
Role = Literal["backup", "current", "steps", "rules", "other-backup", "import", "restore"]


@dataclass(frozen=True, slots=True)
class Evidence:
    role: Role
    path: Path
    size: int
    sha256: str
    kind: str = ""  # 'PostgreSQL plain dump', 'PostgreSQL custom archive' ...
    detail: str = ""  # server version, when it was made, wrappers
    taken_at: datetime | None = None  # when the dump was made, if the source says so


# --- steps --------------------------------------------------------------------------------------

Describes = Literal["intended", "executed", "unknown"]
TransactionShape = Literal["one", "each", "none"]


@dataclass(frozen=True, slots=True)
class Edit:
    table: str
    key: tuple[tuple[str, str | None], ...]
    set: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Event:
    kind: Literal["power-loss", "disk-failure", "crash", "disk-full", "other"]
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sql:
    text: str


@dataclass(frozen=True, slots=True)
class Import:
    """Rows of a CSV file copied into a table. Without `columns` they are in the order of the
    table. `header`: the first line names columns and is no row."""

    table: str
    file: Path
    columns: tuple[str, ...] = ()
    header: bool = False
    delimiter: str = ","
    encoding: str = "UTF8"  # the server's name


@dataclass(frozen=True, slots=True)
class Restore:
    """Rows of tables replaced by those they had in another source."""

    source: Path
    tables: tuple[str, ...]


Action = Sql | Edit | Event | Import | Restore | None  # None: prose that cannot be replayed


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    line: int
    what: str
    action: Action
    at: datetime | None = None  # always with a zone
    until: datetime | None = None  # end of the interval when the log gives {from, to}
    actor: str = ""
    transaction: TransactionShape = "one"
    rows: int | None = None
    suspect: bool = False
    describes: Describes = "unknown"


@dataclass(frozen=True, slots=True)
class Complaint:
    table: str
    key: tuple[tuple[str, str | None], ...]
    column: str = ""  # '' when it is about the row
    should_be: str | None = None
    has_value: bool = False  # should_be was given (it may be NULL)
    fine: bool = False
    row_missing: bool = False


@dataclass(frozen=True, slots=True)
class StepLog:
    steps: tuple[Step, ...]
    complaints: tuple[Complaint, ...] = ()
    complete: bool = False  # covers: complete
    covered: frozenset[str] = frozenset()  # covers: [tables]

    def covers(self, table: str) -> bool:
        return self.complete or table in self.covered


# --- replay -------------------------------------------------------------------------------------


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"  # the server refused it, as it may have done for the customer
    NOT_REPLAYED = "not replayed"  # prose, an event, or a kind this version cannot replay


@dataclass(frozen=True, slots=True)
class Supply:
    """What `COPY table FROM STDIN` of an act reads: a file, byte for byte, or, without one, what
    `query` (a COPY ... TO STDOUT) gives in another scratch database."""

    table: str
    file: Path | None = None
    database: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """A step as a replay runs it. Without statements it is not replayed, for the reason `why`.
    The only supply serves every `COPY ... FROM STDIN`, of several each its own table's."""

    id: str
    statements: tuple[str, ...]
    at: datetime
    transaction: TransactionShape = "one"
    why: str = ""
    supplies: tuple[Supply, ...] = ()


History = tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class Preparation:
    """Statements that a run makes before the act with this id: what if the data had been other.
    User triggers of `quiet` tables are silent meanwhile."""

    before: str
    statements: tuple[str, ...]
    quiet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    step: str
    outcome: Outcome
    why: str = ""  # SQLSTATE and message, or why it was not replayed, or not captured whole
    rows: int | None = None  # what the server reported for the step's statements
    effects: int = 0  # row images captured
    complete: bool = True  # captured counts agree with the server's own
    altered: bool = False  # it changed definitions or replaced files: what-if stops there


@dataclass(frozen=True, slots=True)
class Replay:
    """One run of the log on a clone of the backup; its effects are the rows of `effect` with
    this name."""

    run: str
    outcomes: tuple[StepOutcome, ...]
    blind: frozenset[str] = frozenset()  # tables some of whose rows were not captured


@dataclass(frozen=True, slots=True)
class Variant:
    """Another text for one statement of an act: tried for a moment, then taken back. `returning`
    are the key columns of `table` and then `columns`, as text."""

    id: str
    act: str
    place: int
    statement: str
    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A deviant history beside its base. The relation `forecast` (name, table, key, column, base,
    value, act) has a row for every cell that exists in both and whose final value differs, and
    one with column '' for every row that only one of them has (base, value: whether it is there,
    'true' or 'false'); `act` is the one that wrote the cell last in the deviant history, in the
    base where nothing did. `rows`: what the server reported for acts that were run again."""

    name: str
    rows: tuple[tuple[str, int], ...]


class Laboratory(Protocol):
    """Where histories are tried, on clones of the backup; what they do is found in the case
    database afterwards."""

    def run(
        self, history: History, run: str, preparation: Preparation | None = None
    ) -> Replay | None:
        """Replay; the effects become those of `run`. None: a constraint refused the preparation."""
        ...

    def forecast(
        self, base: Replay, history: History, deviant: History, name: str
    ) -> Forecast | None:
        """What would `deviant` leave that `history` did not? `base` is the run of `history`.
        Fills the relation `forecast` under this name; None when it could not be told."""
        ...

    def lay_beside(self, base: str, run: str, name: str) -> None:
        """Fill the relation `forecast` under this name with what one run left and its base did
        not: both were replayed whole."""
        ...

    def sketch(self, history: History, variants: tuple[Variant, ...]) -> None:
        """Replay once, and at each act try its variants, one by one, taking each back. What they
        would have written becomes the relation `sketch` (variant, table, key, column, value);
        column '' is a row that would have been deleted."""
        ...


# --- faults, labels, grades ---------------------------------------------------------------------


class FaultClass(StrEnum):
    AS_DESCRIBED = "as-described"
    MISSING_WHERE = "missing-where"
    WRONG_VALUE = "wrong-value"
    WRONG_PREDICATE = "wrong-predicate"
    TOO_NARROW = "too-narrow"
    REPEATED = "repeated"
    SKIPPED = "skipped"
    WRONG_ORDER = "wrong-order"
    WRONG_TARGET = "wrong-target"
    UNLOGGED = "unlogged"
    PARTIAL = "partial"
    LOST_UPDATE = "lost-update"
    STORAGE = "storage"
    WRONG_RESTORE = "wrong-restore"
    MANGLED_VALUES = "mangled-values"
    DOUBLE_ENCODING = "double-encoding"
    TIME_SHIFT = "time-shift"
    DOUBLE_IMPORT = "double-import"
    SHIFTED_COLUMNS = "shifted-columns"
    WRONG_MERGE = "wrong-merge"
    ID_REUSE = "id-reuse"
    DROPPED_OBJECT = "dropped-object"
    TRUNCATED_TABLE = "truncated-table"
    SEQUENCE_BEHIND = "sequence-behind"


class Label(StrEnum):
    """What happened to a damaged cell; the first that fits."""

    LOST_WORK = "lost-work"
    DIRECT = "direct"
    CASCADE = "cascade"
    COLLATERAL = "collateral"
    OMISSION = "omission"
    STORAGE = "storage"
    UNEXPLAINED = "unexplained"


class Grade(StrEnum):
    """How sure the target is, surest first."""

    PROVEN = "proven"
    CONSISTENT = "consistent"
    DERIVED = "derived"
    STALE = "stale"
    UNDECIDED = "undecided"
    LOST = "lost"


SAFE = frozenset({Grade.PROVEN, Grade.CONSISTENT})

Cause = Literal["user", "administrator", "hardware", "software", "unknown"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A step and how it deviated. `statement` is what was really executed, as far as the data
    shows; '' when the step itself was the mistake."""

    id: str
    step: str
    fault_class: FaultClass
    parameters: tuple[tuple[str, str], ...]
    probability: float
    evidence: tuple[str, ...]  # sentences that a person can check
    statement: str
    cause: Cause = "unknown"
    accepted: bool = True  # False: an alternative that could not be excluded
    cells: tuple[tuple[Label, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    text: str
    consequence: str
    rows: int


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    alternatives: tuple[Alternative, ...]
    rows: int


AssessmentVerdict = Literal["clean", "damaged", "inconclusive"]


@dataclass(frozen=True, slots=True)
class TableDepth:
    """How deep one table can be restored: damaged cells and rows by grade."""

    table: str
    cells: tuple[tuple[Grade, int], ...]
    rows: tuple[tuple[Grade, int], ...]
    labels: tuple[tuple[Label, int], ...]
    documented: int  # legitimate cells that a step explains
    undocumented: int  # legitimate cells that nothing explains: kept
    recovery_point: datetime | None  # None: the backup's own time is not known


@dataclass(frozen=True, slots=True)
class Assessment:
    verdict: AssessmentVerdict
    faults: tuple[Fault, ...]
    tables: tuple[TableDepth, ...]
    questions: tuple[Question, ...]
    none_of_these: float  # probability left for what no hypothesis reaches
    assumptions: tuple[str, ...]
    coverage: tuple[str, ...]
    does_not_prove: tuple[str, ...]
    warnings: tuple[str, ...] = ()  # e.g. backup and current swapped in time: in every output
    cut_short: bool = False  # the time budget ended the search: what was not tried limits claims


# --- plan, review, rehearsal --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """What a person approves with one decision: one fault, one table, one kind, one grade.
    Its rows are those of the relation `staged` with this id."""

    id: str
    fault: str
    kind: str
    grade: Grade
    operation: "OperationHead"
    hazards: tuple["HazardNote", ...]
    why: str
    requires: tuple[str, ...] = ()  # groups that must be approved with this one


@dataclass(frozen=True, slots=True)
class OperationHead:
    """One guarded write on one table: `op` over the staged rows of the group."""

    op: Literal["set-cells", "insert-rows", "delete-rows"]
    table: str
    columns: tuple[str, ...]  # written columns; of inserts all columns; of deletes none
    rows: int
    cells: int
    digest: str  # SHA-256 over the staged rows in key order
    disabled_triggers: tuple[str, ...] = ()  # by name, on this table, for the time of the write


@dataclass(frozen=True, slots=True)
class HazardNote:
    name: str  # DELETES_ROWS, STALE_VALUES, SUPPRESSES_TRIGGER ... (repair_rules.model.Hazard)
    detail: str


@dataclass(frozen=True, slots=True)
class PlanRefusal:
    fault: str
    table: str
    reason: str
    cells: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups in the order in which they are written."""

    groups: tuple[Group, ...]
    refusals: tuple[PlanRefusal, ...]
    digest: str  # over everything above; decisions are bound to it


@dataclass(frozen=True, slots=True)
class Decision:
    group: str
    approved: bool
    by: str
    at: datetime
    note: str
    accepted: tuple[str, ...]  # hazards consented to by name
    plan_digest: str


@dataclass(frozen=True, slots=True)
class Check:
    """One claim of a rehearsal with the figures behind it."""

    name: str
    passed: bool
    detail: str
    figures: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    body_digest: str
    proposal: bool  # True: all proposed groups, nobody has approved them yet
    checks: tuple[Check, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class Script:
    """A rendered repair: `text` is header + body; only the body is digested."""

    body: str
    header: str
    digest: str

    @property
    def text(self) -> str:
        return self.header + self.body
