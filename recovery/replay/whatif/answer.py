"""The rows of the relation `forecast`, from the rows that are otherwise in the end. They are what
two whole replays laid side by side would give (`recovery.replay.forecast`)."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from recovery.model import History
from recovery.replay.effects import key_of
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import Relation
from recovery.replay.whatif.stand import Difference
from recovery.replay.whatif.versions import fields, steps

_FIRST = '","#n":"1"}'
_FILL = "INSERT INTO forecast SELECT $1, " + ", ".join(
    f"""unnest(from_json(${number}, '["VARCHAR"]'))""" for number in range(2, 8)
)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of `forecast`, without its name."""

    table: str
    key: str
    column: str
    base: str | None
    value: str | None
    act: str


@dataclass(frozen=True, slots=True)
class Past:
    """What happened to a row, in order: in this world with the acts' names, and in the base with
    their places. `earlier`: who wrote which column last, before what is known in such detail; ''
    is the row."""

    history: History
    here: Sequence[tuple[str, Written]]
    in_base: Sequence[tuple[int, Written]]
    earlier: Mapping[str, str]

    def sides(self) -> Iterator[Sequence[tuple[str, Written]]]:
        """This world first. The base is hardly ever asked for."""
        yield self.here
        yield [(self.history[number].id, written) for number, written in self.in_base]


def lines(relation: Relation, key: str, row: Difference, past: Past) -> Iterator[Line]:
    """What `forecast` says of one row."""
    name = relation.name
    if not relation.keyed:
        yield from _copies(relation, key, row, past)
        return
    if row.base is None or row.content is None:
        base = "false" if row.base is None else "true"
        value = "false" if row.content is None else "true"
        yield Line(name, key, "", base, value, _last(relation, key, None, past))
        return
    assert isinstance(row.base, str)
    assert isinstance(row.content, str)
    before, after = fields(row.base), fields(row.content)
    for place in row.places(len(before)):
        old, new = before[place], after[place]
        if old != new:
            act = _last(relation, key, place, past)
            yield Line(name, key, relation.columns[place].name, old, new, act)


def _copies(relation: Relation, text: str, row: Difference, past: Past) -> Iterator[Line]:
    """Equal rows are counted."""
    assert isinstance(row.base, int)
    assert isinstance(row.content, int)
    more = row.content - row.base
    names = (column.name for column in relation.columns)
    key = key_of(relation.table, dict(zip(names, fields(text), strict=True)))
    act = next(
        (
            name
            for side in past.sides()
            for name, written in reversed(side)
            if written.old != written.new
        ),
        "",
    )
    for number in range(1, abs(more) + 1):
        numbered = f'{key.removesuffix(_FIRST)}","#n":"{number}"}}'
        base, value = ("true", "false") if more < 0 else ("false", "true")
        yield Line(relation.name, numbered, "", base, value, act)


def _last(relation: Relation, key: str, place: int | None, past: Past) -> str:
    """Who wrote a cell last here, or in the base where nothing did; without a place, the row."""
    column = "" if place is None else relation.columns[place].name
    for side in past.sides():
        for name, written in reversed(side):
            if _concerns(relation, key, place, written):
                return name
        if column in past.earlier:
            return past.earlier[column]
    return ""


def _concerns(relation: Relation, key: str, place: int | None, written: Written) -> bool:
    if place is not None and written.old is not None and written.new is not None:
        before, after = fields(written.old), fields(written.new)
        for one in relation.key:
            if before[one] != after[one]:
                break
        else:
            return before[place] != after[place]
    for step in steps(relation, written):
        if step.key != key:
            continue
        if not isinstance(step.before, str) or not isinstance(step.after, str):
            return step.before != step.after
        return place is not None and fields(step.before)[place] != fields(step.after)[place]
    return False


def tell(facts: duckdb.DuckDBPyConnection, name: str, found: Iterable[Line]) -> None:
    """Fill `forecast`, which was made, under this name."""
    facts.execute("DELETE FROM forecast WHERE name = ?", [name])
    # A list of texts goes through JSON in half the time that the client takes to bind it.
    rows = [(one.table, one.key, one.column, one.base, one.value, one.act) for one in found]
    columns = [json.dumps(column, ensure_ascii=False) for column in zip(*rows, strict=True)]
    if columns:
        facts.execute(_FILL, [name, *columns])
