"""A fault as a generator sees it: what was meant, what ran, where in the history, and on what."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.suites.model import Column, Suite, Target
from recovery.demo.twin import Connection


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a strike. `meant` ran in the world as meant, `ran` in the world as it was; ''
    where nothing did. `guilty`: it is the fault, or part of it; else it is good work that the
    fault needs around it. `offset` is its place behind the strike's, in steps of the history;
    `ran_offset` another place where it really ran."""

    meant: str
    ran: str
    what: str
    logged: bool = True
    guilty: bool = True
    suspect: bool = False
    offset: float = 0.0
    ran_offset: float | None = None
    last: bool = False  # after everything else


@dataclass(frozen=True, slots=True)
class Touch:
    """Which rows are struck: good edits of the same cells are made before and after."""

    column: Column
    keys: str  # a query
    here: tuple[str, ...]  # templates with {key}
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault before it is put into a history. `tables`: what it writes itself. `storage`: the kind
    of storage damage, done to the database after the history. `outside`: no class of the contract
    describes it."""

    fault_class: str
    kind: str
    tables: frozenset[str]
    touch: Touch
    parts: tuple[Part, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    storage: str = ""
    outside: bool = False
    audited: bool = False


class NotHere(Exception):
    """A suite has no place for this class."""


@dataclass(slots=True)
class Draw:
    """What a drawer has: chance, the suite, the backup to read, and the seed as a number."""

    random: Random
    suite: Suite
    connection: Connection
    seed: int
    number: int = 900
    _cache: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def texts(self, query: str) -> tuple[str, ...]:
        """The first column as texts; NULLs left out."""
        if query not in self._cache:
            rows = self.connection.execute(query.encode()).fetchall()
            self._cache[query] = tuple(str(one[0]) for one in rows if one[0] is not None)
        return self._cache[query]

    def keys(self, column: Column, count: int, condition: str = "true") -> list[str]:
        """Keys of rows, as literals, in their order; chosen by chance."""
        query = f"SELECT {column.key} FROM {column.table} WHERE {condition} ORDER BY {column.key}"
        found = self.texts(query)
        if len(found) < count:
            raise NotHere(f"{column.table}: fewer than {count} rows with {condition}")
        chosen = sorted(self.random.sample(range(len(found)), count))
        return [literal(found[at]) for at in chosen]

    def unique(self) -> int:
        self.number += 1
        return self.number

    @property
    def struck(self) -> Column:
        """The struck column of the suite's values."""
        values, places = self.suite.values, self.suite.places
        return Column(values.table, values.name, values.column, places.key)


def literal(value: str) -> str:
    """A text from the data as SQL: numbers bare, all else quoted."""
    bare = value.removeprefix("-")
    if bare.replace(".", "", 1).isdigit() and not (bare.startswith("0") and len(bare) > 1):
        return value
    if bare.startswith("0.") and bare[2:].isdigit():
        return value
    return quoted(value)


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def value_touch(target: Target, key: str, where: str) -> Touch:
    column = Column(target.table, target.name, target.column, key)
    return Touch(column, target.keys + where, target.here, target.near)


def plain_touch(column: Column, kind: str, keys: Sequence[str] = ()) -> Touch:
    """Edits of a column that the suite has no templates for."""
    assignment = {
        "text": f"{column.column} || ' {{i}}'",
        "code": f"{column.column} || '{{i}}'",
        "moment": f"{column.column} + interval '{{i}} minutes'",
        "date": f"{column.column} + {{i}}",
        "number": f"{column.column} + {{i}}",
    }[kind]
    edit = f"UPDATE {column.table} SET {column.column} = {assignment} WHERE {column.key} = {{key}}"
    among = f" AND {column.key} IN ({', '.join(keys)})" if keys else ""
    query = (
        f"SELECT CASE WHEN {column.key}::text ~ '^[1-9][0-9]*$' THEN {column.key}::text"
        f" ELSE quote_literal({column.key}::text) END FROM {column.table}"
        f" WHERE {column.column} IS NOT NULL{among}"
    )
    return Touch(column, query, (edit, edit))
