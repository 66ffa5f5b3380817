"""Ids that sequences issue. A partial log issues too few numbers: its order 1001 may be the
customer's order 1003. Before a step's rows are kept, they are matched by content with rows that
only the current state has, and the sequences are set so that the step issues the ids it issued
then. Ids, once found, are the same in every run of the case.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from psycopg import Connection, sql

from diffing.model import Schema, parts

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Feed:
    """A sequence and the key column it feeds. `label` is its name as data, not as SQL."""

    label: str
    schema: str
    sequence: str
    table: str
    column: str


@dataclass(slots=True)
class Identities:
    """What is known about issued ids; shared by all runs of a case."""

    feeds: tuple[Feed, ...]
    extras: Mapping[str, tuple[Row, ...]]  # per table: rows that only the current state has
    issued: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)

    def match(self, feed: Feed, row: Row) -> int | None:
        """The id of the current row that looks most like `row`; None when none looks like it.

        At least half of the columns beside the id must agree; of equals, the lowest id."""
        compared = [
            name for name, value in row.items() if name != feed.column and value is not None
        ]
        best, best_id = max(1, (len(compared) + 1) // 2) - 1, None
        for extra in self.extras.get(feed.table, ()):
            agreeing = sum(extra.get(name) == row[name] for name in compared)
            if agreeing > best:
                best, best_id = agreeing, extra[feed.column]
        return int(best_id) if best_id is not None else None


def feeds(schema: Schema) -> tuple[Feed, ...]:
    """Sequences that feed a column of a key."""
    found = []
    for sequence in schema.sequences:
        match sequence.owned_by:
            case (table, column) if schema.has(table) and column in schema.table(table).key.columns:
                found.append(Feed(sequence.name, *parts(sequence.name), table, column))
            case _:
                pass
    return tuple(found)


def positions(connection: Connection[tuple[object, ...]], feeds: Iterable[Feed]) -> dict[str, int]:
    """The last number each sequence has issued."""
    queries = [
        sql.SQL(
            "SELECT {}, CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {}"
        ).format(sql.Literal(feed.label), sql.Identifier(feed.schema, feed.sequence))
        for feed in feeds
    ]
    if not queries:
        return {}
    rows = connection.execute(sql.SQL(" UNION ALL ").join(queries)).fetchall()
    return {str(name): int(str(value)) for name, value in rows}


def set_positions(
    connection: Connection[tuple[object, ...]], feeds: Iterable[Feed], last: Mapping[str, int]
) -> None:
    for feed in feeds:
        if feed.label in last:
            connection.execute(
                "SELECT pg_catalog.setval(%s::regclass, %s, %s)",
                (
                    sql.Identifier(feed.schema, feed.sequence).as_string(None),
                    max(last[feed.label], 1),
                    last[feed.label] >= 1,
                ),
            )


def first_issued(
    connection: Connection[tuple[object, ...]], feed: Feed, schema: Schema, before: int
) -> Row | None:
    """The first row that got an id after `before`, as the database's own text."""
    table = schema.table(feed.table)
    text = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(column.name)
        )
        for column in table.columns
    )
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {column} > %s ORDER BY {column} LIMIT 1").format(
            text,
            sql.Identifier(table.schema, table.relation),
            column=sql.Identifier(feed.column),
        ),
        (before,),
    ).fetchone()
    if row is None:
        return None
    names = (column.name for column in table.columns)
    return {
        name: None if value is None else str(value) for name, value in zip(names, row, strict=True)
    }
