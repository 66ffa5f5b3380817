"""The words of a repair: localised damage in, operations or a refusal out. Pure values.

An operation is a set, not a row: its rows are a staged relation of the case database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol


class Hazard(StrEnum):
    DELETES_ROWS = "DELETES_ROWS"
    OVERWRITES_NEWER_WORK = "OVERWRITES_NEWER_WORK"
    CASCADES = "CASCADES"
    FIRES_TRIGGER = "FIRES_TRIGGER"
    SUPPRESSES_TRIGGER = "SUPPRESSES_TRIGGER"
    STALE_VALUES = "STALE_VALUES"
    LONG_LOCK = "LONG_LOCK"
    LARGE_CHANGE = "LARGE_CHANGE"
    RE_USED_KEY = "RE_USED_KEY"
    NO_KEY = "NO_KEY"
    SCHEMA_DIFFERS = "SCHEMA_DIFFERS"
    EXTERNAL_EFFECT = "EXTERNAL_EFFECT"
    PARTIAL = "PARTIAL"


Shape = Literal["cells", "rows-gone", "rows-added"]


@dataclass(frozen=True, slots=True)
class Damage:
    """Localised damage of one fault on one table at one grade, of one shape. `columns`: of cells
    the damaged ones; of rows the columns that the rows have."""

    fault: str
    fault_class: str
    table: str
    shape: Shape
    grade: str
    columns: tuple[str, ...]
    rows: int
    cells: int


class Facts(Protocol):
    """What a kind may ask about the table; answers come from catalogs, never from a guess."""

    def has_key(self, table: str) -> bool: ...

    def key(self, table: str) -> frozenset[str]: ...

    def schema_differs(self, table: str) -> bool: ...

    def triggers(
        self, table: str, event: Literal["insert", "update", "delete"]
    ) -> tuple[str, ...]: ...

    def children(self, table: str) -> tuple[str, ...]: ...

    def columns(self, table: str) -> frozenset[str]: ...

    def generated(self, table: str) -> frozenset[str]: ...

    def always_identity(self, table: str) -> frozenset[str]: ...

    def mandatory(self, table: str) -> frozenset[str]:
        """Columns that a new row has to give: not null, and nothing fills them in."""
        ...

    def rows(self, table: str) -> int: ...


@dataclass(frozen=True, slots=True)
class SetCells:
    table: str
    columns: tuple[str, ...]
    hazards: tuple[tuple[Hazard, str], ...] = ()


@dataclass(frozen=True, slots=True)
class InsertRows:
    table: str
    hazards: tuple[tuple[Hazard, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteRows:
    table: str
    hazards: tuple[tuple[Hazard, str], ...] = ()


Operation = SetCells | InsertRows | DeleteRows


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


Proposal = tuple[Operation, ...] | Refusal


# Fault classes whose damage is values and rows: all but those that damage the structure itself.
OF_DATA = frozenset(
    {
        "as-described",
        "missing-where",
        "wrong-value",
        "wrong-predicate",
        "too-narrow",
        "repeated",
        "skipped",
        "wrong-order",
        "wrong-target",
        "unlogged",
        "partial",
        "lost-update",
        "storage",
        "wrong-restore",
        "mangled-values",
        "double-encoding",
        "time-shift",
        "double-import",
        "shifted-columns",
        "wrong-merge",
        "id-reuse",
        "truncated-table",
    }
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of damage: which faults and shapes it fits, and what it proposes for them."""

    name: str
    fits: frozenset[str]
    shape: Shape
    propose: Callable[[Damage, Facts], Proposal]
