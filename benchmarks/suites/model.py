"""What a suite says of its database: legitimate work as SQL templates, the places where a fault can
strike, and how to lay hands on the very rows it strikes.

Templates are filled with str.format from the names in `samples` (SELECTs against the backup that
list what exists), `{n}` (unique in a history), `{i}` (a small whole number) and `{money}`. What
stands in `[[...]]` is a SELECT that an application makes just before: its result is written in its
place, so the log holds a constant that came from data read earlier.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A column (or, with column '', a table's rows) that a fault strikes. `wheres` are the
    predicates that the log tells; `keys` lists key values of the table as text, for edits on the
    very rows; `here` edits the column and `near` other columns of one row. `audited`: something
    in the database keeps every former value of the column."""

    table: str  # as SQL writes it
    name: str  # schema.relation
    column: str
    wheres: tuple[str, ...]
    keys: str
    here: tuple[str, ...]
    near: tuple[str, ...]
    constants: tuple[str, ...] = ()
    audited: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column and the (single) key of its table, all as SQL writes them; `name` is
    schema.relation."""

    table: str
    name: str
    column: str
    key: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A list that is imported: rows of one table. `row` is filled with what templates are and with
    `{k}`, the row's number, and `{run}`, digits that make keys other ones when the list is imported
    again; `shifted` are positions of columns that take each other's values without complaint."""

    table: str
    name: str
    columns: tuple[str, ...]
    row: str
    shifted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Rows of `parent` that `child` refers to by `reference`; `unmerged`: a parent without other
    children is deleted when it is merged into another."""

    parent: Column  # its column is a natural one, such as a name
    child: str
    child_name: str
    reference: str
    delete: bool = True


@dataclass(frozen=True, slots=True)
class Serial:
    """A sequence behind a key, and an INSERT template that uses it."""

    sequence: str
    insert: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where faults of other kinds than a price can strike. `key` is the key of the struck values'
    table, `predicates` columns of it that a WHERE can speak of, `sibling` a column of it that takes
    the same values; `texts` are names and remarks, `codes` digits with zeros in front or a
    length that matters, `times` moments or dates (`shift` is what is added to them); `spare` is a
    table that can be emptied or dropped without a constraint in the way."""

    key: str
    predicates: tuple[str, ...]
    sibling: str
    texts: Column
    codes: Column
    times: Column
    shift: str
    batch: Batch
    merge: Merge
    spare: tuple[str, str]  # as SQL writes it, schema.relation
    droppable: Column
    entity: Column  # a row whose natural columns an id stands for
    serial: Serial | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    file: str  # in the folder of sample dumps; '' where `build` makes it
    samples: tuple[tuple[str, str], ...]
    work: tuple[str, ...]
    downstream: tuple[str, ...]  # copies a struck value, recomputes from it
    values: Target
    rows: Target
    places: Places
    touched: frozenset[tuple[str, str]] = frozenset()
    records: frozenset[str] = frozenset()  # tables to which triggers append what happened
    rounds: bool = True  # the struck column has two decimals
    build: Callable[[int, int], str] | None = None  # rows, seed -> SQL; None: a file or the demo's
