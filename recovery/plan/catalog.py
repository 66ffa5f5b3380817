"""What planning may ask: of the current schema (`repair_rules.model.Facts`), and which rows of the
current state hold given values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from diffing.model import Column, Schema, Table


@dataclass(frozen=True, slots=True)
class Held:
    """A row of the current state holds what was asked under the number `asked`. `key` is its key
    text, '' in a table without key."""

    asked: int
    key: str


class CurrentRows(Protocol):
    """Rows of the current state, found by what they hold; it is only read."""

    def holding(
        self,
        table: Table,
        columns: Sequence[str],
        types: Sequence[str],
        asked: Sequence[tuple[int, tuple[str, ...]]],
    ) -> Iterator[Held]:
        """Every row whose `columns` equal one of the asked value lists (value text of `types`)."""
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """The current state as kinds and the planner see it."""

    schema: Schema
    row_counts: Mapping[str, int]
    differing: frozenset[str]
    current: CurrentRows

    def has_key(self, table: str) -> bool:
        return bool(self.schema.table(table).key.columns)

    def key(self, table: str) -> frozenset[str]:
        return frozenset(self.schema.table(table).key.columns)

    def schema_differs(self, table: str) -> bool:
        return table in self.differing

    def triggers(self, table: str, event: Literal["insert", "update", "delete"]) -> tuple[str, ...]:
        return tuple(
            trigger.name
            for trigger in self.schema.triggers
            if trigger.table == table and event in trigger.events and trigger.enabled
        )

    def children(self, table: str) -> tuple[str, ...]:
        return tuple(key.table for key in self.schema.foreign_keys if key.parent == table)

    def columns(self, table: str) -> frozenset[str]:
        return frozenset(column.name for column in self.schema.table(table).columns)

    def generated(self, table: str) -> frozenset[str]:
        return self._named(table, lambda column: column.generated)

    def always_identity(self, table: str) -> frozenset[str]:
        return self._named(table, lambda column: column.identity == "always")

    def mandatory(self, table: str) -> frozenset[str]:
        return self._named(
            table,
            lambda column: (
                column.not_null and not (column.default or column.identity or column.generated)
            ),
        )

    def rows(self, table: str) -> int:
        return self.row_counts.get(table, 0)

    def _named(self, table: str, wanted: "Wanted") -> frozenset[str]:
        columns = self.schema.table(table).columns
        return frozenset(column.name for column in columns if wanted(column))


class Wanted(Protocol):
    def __call__(self, column: Column, /) -> bool: ...
