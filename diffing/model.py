"""The words of a comparison: what a state looks like, and how two states disagree.

Row-level facts never become Python objects here: they live in a DuckDB relation (see
`DIVERGENCE_COLUMNS`). These types describe tables, ledgers and verdicts, of which there are few.

Value form everywhere in dbmend: the text that PostgreSQL's own output function prints under
`PINNED_SETTINGS` (what `COPY ... TO STDOUT` shows before escaping, what `pg_catalog.concat(x)`
returns for a value that is not NULL). NULL is NULL. Booleans are `t`/`f`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

PINNED_SETTINGS: tuple[tuple[str, str], ...] = (
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("row_security", "off"),
)

Family = Literal[
    "text",  # decided by exact text: integers, bool, dates, uuid, enum, bit, xml, geometric ...
    "numeric",
    "float",
    "timestamptz",
    "interval",
    "json",
    "char",  # char(n): padding is representation
    "citext",  # citext and nondeterministic collations: other text may match as a key
    "array",
    "composite",
    "range",
    "tsvector",
]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # format_type() under an empty search_path: 'numeric(10,2)', 'public.mood'
    family: Family
    not_null: bool = False
    generated: bool = False
    identity: Literal["", "always", "by default"] = ""
    default: str = ""  # the expression's text, '' when there is none
    element: Family = "text"  # of an array or range: the family of what it holds
    fields: tuple[Family, ...] = ()  # of a composite (or of an array of one), in order


KeyOrigin = Literal["primary", "unique", "declared", "none"]


@dataclass(frozen=True, slots=True)
class Key:
    """Columns in key order. Without columns (origin 'none') rows are compared as a multiset."""

    columns: tuple[str, ...]
    origin: KeyOrigin


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows of its own; a partitioned table stands for its partitions."""

    schema: str
    relation: str
    columns: tuple[Column, ...]
    key: Key
    partitioned: bool = False
    partitions: tuple[str, ...] = ()  # qualified names, of a partitioned table
    inherits: tuple[str, ...] = ()  # qualified names of parents by traditional inheritance

    @property
    def name(self) -> str:
        return qualified(self.schema, self.relation)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.column(name) for name in self.key.columns)


Action = Literal["no action", "restrict", "cascade", "set null", "set default"]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    name: str
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: Action
    on_update: Action
    deferrable: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    name: str
    table: str
    kind: Literal["primary", "unique", "check", "foreign", "exclusion"]
    columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    table: str
    function: str
    definition: str
    events: frozenset[Literal["insert", "update", "delete", "truncate"]]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Sequence_:
    name: str
    last_value: int
    is_called: bool
    increment: int
    owned_by: tuple[str, str] | tuple[()] = ()  # (table, column) it feeds


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """Anything else of a schema that can differ: named and shown as text."""

    kind: Literal["view", "index", "function", "type", "extension", "grant", "partition", "rule"]
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Schema:
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    sequences: tuple[Sequence_, ...] = ()
    objects: tuple[SchemaObject, ...] = ()

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    def has(self, name: str) -> bool:
        return any(table.name == name for table in self.tables)


class State(Protocol):
    """One of the two sides: a schema, and rows that can be streamed out as CSV."""

    @property
    def schema(self) -> Schema: ...

    @property
    def unloaded(self) -> dict[str, str]:
        """Tables whose rows could not be had, with the reason in words."""
        ...

    def export(self, table: Table, columns: Sequence[str], path: Path) -> int:
        """Write the named columns of every row to `path`; return the number of rows.

        CSV, UTF-8, no header: a constant first field `1` (so that a lone NULL is no empty line),
        then every value quoted; NULL is an unquoted empty field.
        """
        ...


_PART = re.compile(r'"(?:[^"]|"")*"|[^."]+')

# --- how two states disagree -------------------------------------------------------------------

Kind = Literal["changed", "missing", "extra", "unreadable", "unknown"]

# The relation `divergence` of the case database, and diff.parquet, column by column.
DIVERGENCE_COLUMNS = ("table", "key", "kind", "column", "backup", "current")


class Status(StrEnum):
    IDENTICAL = "identical"
    DIFFERENT = "different"
    PARTIAL = "partial"
    NOT_COMPARED = "not-compared"


@dataclass(frozen=True, slots=True)
class Sides:
    backup: int = 0
    current: int = 0


@dataclass(frozen=True, slots=True)
class TableDiff:
    """One entry of the ledger; the names are those of `diff.json`."""

    table: str
    key: tuple[str, ...]
    status: Status
    why: str
    rows: Sides = Sides()
    same: int = 0
    changed: int = 0
    missing: int = 0
    extra: int = 0
    unreadable: Sides = Sides()
    unknown: Sides = Sides()
    cells: tuple[tuple[str, int], ...] = ()
    representation_only: int = 0
    duplicates: Sides = Sides()
    duplicates_scope: Literal["all", "leftovers"] = "leftovers"

    def closes(self) -> bool:
        """The sums of the contract: no row of either side is left unaccounted for."""
        backup = self.same + self.changed + self.missing
        current = self.same + self.changed + self.extra
        return (
            backup + self.unreadable.backup + self.unknown.backup == self.rows.backup
            and current + self.unreadable.current + self.unknown.current == self.rows.current
        )


@dataclass(frozen=True, slots=True)
class SchemaDivergence:
    kind: str  # 'table', 'column', 'constraint', 'trigger', 'sequence' or a SchemaObject kind
    name: str
    backup: str  # definition text, '' when absent on that side
    current: str


class Verdict(StrEnum):
    IDENTICAL = "identical"
    DIFFERENT = "different"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every table of either side exactly once."""

    tables: tuple[TableDiff, ...]
    schema: tuple[SchemaDivergence, ...] = ()

    @property
    def verdict(self) -> Verdict:
        open_ends = {Status.NOT_COMPARED, Status.PARTIAL}
        if not self.tables or any(table.status in open_ends for table in self.tables):
            return Verdict.INCONCLUSIVE
        if self.schema or any(table.status is Status.DIFFERENT for table in self.tables):
            return Verdict.DIFFERENT
        return Verdict.IDENTICAL

    def __iter__(self) -> Iterator[TableDiff]:
        return iter(self.tables)


@lru_cache(maxsize=4096)
def qualified(schema: str, relation: str) -> str:
    """`public.orders`; a part that holds a dot or a quote is quoted, so that it stays one."""
    return ".".join(_part(part) for part in (schema, relation))


def parts(name: str) -> tuple[str, str]:
    """Schema and relation of a name that `qualified` wrote."""
    schema, relation = _PART.findall(name)
    return _plain(schema), _plain(relation)


def _plain(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _part(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if "." in name or '"' in name else name
