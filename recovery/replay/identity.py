"""Ids that sequences issue. A partial log issues too few numbers: its order 1001 may be the
customer's order 1003. Before a step's rows are kept, they are matched by content with rows that
only the current state has, and the sequences are set so that the step issues the ids it issued
then. Ids, once found, are the same in every run of the case.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from math import log

import duckdb
from psycopg import Connection, sql

from diffing.model import Schema, parts

Row = Mapping[str, str | None]
# A number that an act begins behind, or, without a text, one that it has.
_REMEMBERED = """
CREATE TABLE IF NOT EXISTS issued (
    act VARCHAR NOT NULL, text VARCHAR NOT NULL, sequence VARCHAR NOT NULL, number BIGINT NOT NULL)
"""
_LIKELY_MAX = 1000  # rows of the current state looked at for one row of a step
_TELLING = 4  # characters of a value that is known again in another column
_ROWS_MAX = 20  # rows of one step that vote for where its numbers began


@dataclass(frozen=True, slots=True)
class Feed:
    """A sequence and the key column it feeds. `label` is its name as data, not as SQL."""

    label: str
    schema: str
    sequence: str
    table: str
    column: str
    increment: int = 1


@dataclass(slots=True)
class Supposed:
    """Numbers that steps of a supposed history issued, and no row of the current state has."""

    issued: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    taken: dict[tuple[str, int], str] = field(default_factory=dict)


@dataclass(slots=True)
class Identities:
    """What is known about issued ids; shared by all runs of a case."""

    feeds: tuple[Feed, ...]
    extras: Mapping[str, tuple[Row, ...]]  # per table: rows that only the current state has
    issued: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)
    _taken: dict[tuple[str, int], str] = field(default_factory=dict)  # which act has this id
    _places: dict[str, dict[tuple[str, str], list[int]]] = field(default_factory=dict)
    _unfound: set[tuple[str, str]] = field(default_factory=set)  # acts whose rows nothing is like
    _claims: set[tuple[str, str, str]] = field(default_factory=set)  # sequence, owner, claimant
    _settled: bool = False
    _supposed: Supposed | None = None

    @contextmanager
    def supposing(self) -> Iterator[Supposed]:
        """What a run of a supposed history finds in the current state holds for all runs. Numbers
        that it only counted on to hold for it alone: what the next supposition comes to may not
        depend on which were tried before."""
        before, self._supposed = self._supposed, Supposed()
        try:
            yield self._supposed
        finally:
            supposed, self._supposed = self._supposed, before
            for name in supposed.issued:
                self.issued.pop(name, None)
            for one in supposed.taken:
                self._taken.pop(one, None)

    def believe(self, supposed: Supposed) -> None:
        """That history is run again, or no longer a mere supposition."""
        for name, last in supposed.issued.items():
            if name not in self.issued:
                self.count_on(name, last)
        for (label, number), act in supposed.taken.items():
            self._take(label, act, [number], counted=True)

    def count_on(self, name: tuple[str, str], last: Mapping[str, int]) -> None:
        """A step issued the numbers behind these; no row of the current state says so."""
        if self._supposed is not None and name not in self.issued:
            self._supposed.issued[name] = last
        self.issued[name] = last

    def match(self, feed: Feed, row: Row, *, act: str = "", after: int = 0) -> int | None:
        """The id of the current row that looks most like `row`; None when none looks like it.

        At least half of the columns beside the id must agree, one of them in a value that not all
        rows have. Rare values tell more than frequent
        ones; of equals, the lowest id behind `after`, then the lowest. Ids that other acts have
        are left out."""
        fits = self._fits(feed, row, act)
        best = max(fits, key=lambda fit: (fit[1], fit[0] > after, -fit[0]), default=None)
        return best[0] if best else None

    def began(self, feed: Feed, rows: Sequence[Row], *, act: str, after: int) -> int | None:
        """The number before the first that an act issued, when `rows` are what it made: where
        the most of them find rows like them, at the same distances."""
        fitting = self._votes(feed, rows, act) or self._votes(feed, rows, act, across=True)
        if not fitting:
            self._claim(feed, rows, act)
            return None
        first = max(
            fitting,
            key=lambda start: (
                fitting[start][0],
                round(fitting[start][1], 6),
                start > after,
                -start,
            ),
        )
        return first - feed.increment

    def _votes(
        self, feed: Feed, rows: Sequence[Row], act: str, *, across: bool = False
    ) -> Mapping[int, tuple[int, float]]:
        """Per first id that the rows may have: how many of them say so, and how much that tells."""
        fitting: dict[int, tuple[int, float]] = {}
        for row in rows:
            distance = int(str(row[feed.column])) - int(str(rows[0][feed.column]))
            for found, told in self._fits(feed, row, act, across=across):
                votes, sum_told = fitting.get(found - distance, (0, 0.0))
                fitting[found - distance] = votes + 1, sum_told + told
        return fitting

    def settle(self) -> bool:
        """At the end of the first run: numbers that an act was given although nothing is like its
        rows, and that a later act's rows bear in the current state, are the later act's. True:
        the owner now begins behind all numbers there are, and the run has to be made again."""
        if self._settled:
            return False
        self._settled = True
        claimants = {claimant for _, _, claimant in self._claims}
        moved = {
            (owner, label)
            for label, owner, _ in self._claims
            if (owner, label) in self._unfound and owner not in claimants
        }
        gone = claimants | {owner for owner, _ in moved}
        kept: dict[tuple[str, str], Mapping[str, int]] = {}
        for name, last in self.issued.items():
            given_up = {label for label in last if (name[0], label) in moved}
            if given_up:
                kept[name] = {n: self._end(n, gone) if n in given_up else last[n] for n in last}
        if kept:
            self.issued.clear()
            self.issued.update(kept)
            self._taken.clear()
        return bool(kept)

    def _end(self, label: str, gone: Collection[str]) -> int:
        """The highest number that a row of the current state has, or an act that is not `gone`."""
        (feed,) = (one for one in self.feeds if one.label == label)
        there = [int(str(row[feed.column])) for row in self.extras.get(feed.table, ())]
        taken = [n for (one, n), act in self._taken.items() if one == label and act not in gone]
        return max(there + taken)

    def _claim(self, feed: Feed, rows: Sequence[Row], act: str) -> None:
        """Note whose numbers the rows have in the current state, when all are given away."""
        self._unfound.add((act, feed.label))
        for row in rows:
            for number, _ in self._fits(feed, row, act, given=True):
                owner = self._taken.get((feed.label, number), act)
                if owner != act:
                    self._claims.add((feed.label, owner, act))

    def _fits(
        self, feed: Feed, row: Row, act: str, *, given: bool = False, across: bool = False
    ) -> list[tuple[int, float]]:
        """Ids of current rows that may be `row`, and how much the agreement tells. `given`: those
        that other acts have as well. `across`: a value may stand in another column."""
        names = [name for name, value in row.items() if name != feed.column and value is not None]
        extras = self.extras.get(feed.table, ())
        places = self._index(feed)
        fits = []
        for place in self._likely(feed, row, [*names, ""] if across else names):
            found = extras[place][feed.column]
            agreeing = [(name, row[name]) for name in names if extras[place].get(name) == row[name]]
            if across:
                agreeing += _elsewhere(extras[place], row, names)
            if found is None or len(agreeing) < max(1, (len(names) + 1) // 2):
                continue
            if not given and self._taken.get((feed.label, int(found)), act) != act:
                continue
            shares = [len(extras) / len(places[name, str(value)]) for name, value in agreeing]
            if max(shares) == 1 and len(extras) > 1:
                continue  # it agrees in what all rows have in common
            told = sum(1 + log(share) for share in shares)
            fits.append((int(found), round(told, 6)))
        return fits

    def remember(self, facts: duckdb.DuckDBPyConnection) -> None:
        """Keep in the case database what is known, for stages that come later."""
        facts.execute(_REMEMBERED)
        facts.execute("DELETE FROM issued")
        rows: list[tuple[str, str, str, int]] = [
            (act, text, label, number)
            for (act, text), last in self.issued.items()
            for label, number in last.items()
        ]
        rows += [(act, "", label, number) for (label, number), act in self._taken.items()]
        if rows:
            facts.execute(
                "INSERT INTO issued SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]),"
                " unnest($3::VARCHAR[]), unnest($4::BIGINT[])",
                [list(column) for column in zip(*rows, strict=True)],
            )

    def recall(self, facts: duckdb.DuckDBPyConnection) -> None:
        """What an earlier stage kept, unless more is known already."""
        self._settled = True
        if self.issued:
            return
        facts.execute(_REMEMBERED)
        found: dict[tuple[str, str], dict[str, int]] = {}
        for act, text, label, number in facts.execute("SELECT * FROM issued").fetchall():
            if text:
                found.setdefault((act, text), {})[label] = number
            else:
                self._taken[label, number] = act
        self.issued.update(found)

    def take(self, feed: Feed, act: str, numbers: Iterable[int], *, counted: bool = False) -> None:
        """These ids are those of `act`, and of no other; `counted`: for all that is known."""
        self._take(feed.label, act, numbers, counted=counted)

    def _take(self, label: str, act: str, numbers: Iterable[int], *, counted: bool) -> None:
        for number in numbers:
            one = label, number
            if counted and self._supposed is not None and one not in self._taken:
                self._supposed.taken[one] = act
            self._taken.setdefault(one, act)

    def _index(self, feed: Feed) -> Mapping[tuple[str, str], list[int]]:
        """Where in `extras` a column has a value; under the name '' where any has a long one."""
        if feed.table not in self._places:
            index: dict[tuple[str, str], list[int]] = {}
            for place, extra in enumerate(self.extras.get(feed.table, ())):
                for name, value in extra.items():
                    if value is not None:
                        index.setdefault((name, value), []).append(place)
                for value in {one for one in extra.values() if one and len(one) >= _TELLING}:
                    index.setdefault(("", value), []).append(place)
            self._places[feed.table] = index
        return self._places[feed.table]

    def _likely(self, feed: Feed, row: Row, names: Sequence[str]) -> Sequence[int]:
        """Rows that share a value with `row` (with the name '', in any column), those with its
        rarest values first."""
        index = self._index(feed)
        wanted = [(name, row[name]) for name in names if name]
        wanted += [("", value) for value in row.values() if "" in names]
        lists = sorted((index.get((name, str(value)), []) for name, value in wanted), key=len)
        found: dict[int, None] = {}
        for places in lists:
            for place in places:
                if len(found) >= _LIKELY_MAX:
                    return tuple(found)
                found[place] = None
        return tuple(found)


def _elsewhere(extra: Row, row: Row, names: Iterable[str]) -> list[tuple[str, str | None]]:
    """Values of `row` that the other one has in another column."""
    there = {value for value in extra.values() if value and len(value) >= _TELLING}
    return [("", row[name]) for name in names if extra.get(name) != row[name] in there]


def feeds(schema: Schema) -> tuple[Feed, ...]:
    """Sequences that feed a column of a key, upwards."""
    found = []
    for sequence in schema.sequences:
        match sequence.owned_by:
            case (table, column) if (
                schema.has(table)
                and column in schema.table(table).key.columns
                and sequence.increment > 0
            ):
                found.append(
                    Feed(sequence.name, *parts(sequence.name), table, column, sequence.increment)
                )
            case _:
                pass
    return tuple(found)


def still_there(
    connection: Connection[tuple[object, ...]], feeds: Iterable[Feed]
) -> tuple[Feed, ...]:
    """Those whose sequence and column no step has taken away."""
    found = []
    for feed in feeds:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute"
            " WHERE attrelid = pg_catalog.to_regclass(%s) AND attname = %s AND NOT attisdropped)"
            " AND EXISTS (SELECT FROM pg_catalog.pg_class"
            " WHERE oid = pg_catalog.to_regclass(%s) AND relkind = 'S')",
            (
                sql.Identifier(*parts(feed.table)).as_string(None),
                feed.column,
                sql.Identifier(feed.schema, feed.sequence).as_string(None),
            ),
        ).fetchone()
        if row == (True,):
            found.append(feed)
    return tuple(found)


def positions(
    connection: Connection[tuple[object, ...]], feeds: tuple[Feed, ...]
) -> dict[str, int]:
    """The last number each sequence has issued, or the one before its first."""
    if not feeds:
        return {}
    rows = connection.execute(positions_query(feeds)).fetchall()
    return {str(name): int(str(value)) for name, value in rows}


@lru_cache(maxsize=8)
def positions_query(feeds: tuple[Feed, ...]) -> bytes:
    queries = [
        sql.SQL(
            "SELECT {}, CASE WHEN is_called THEN last_value ELSE last_value - {} END FROM {}"
        ).format(
            sql.Literal(feed.label),
            sql.Literal(feed.increment),
            sql.Identifier(feed.schema, feed.sequence),
        )
        for feed in feeds
    ]
    return sql.SQL(" UNION ALL ").join(queries).as_bytes(None)


def set_positions(
    connection: Connection[tuple[object, ...]], feeds: Iterable[Feed], last: Mapping[str, int]
) -> None:
    """Make them as if they had issued these numbers last, as far as their bounds allow."""
    for query in positions_set(feeds, last):
        connection.execute(query)


def positions_set(feeds: Iterable[Feed], last: Mapping[str, int]) -> Iterator[sql.Composed]:
    """What makes them so."""
    for feed in feeds:
        if feed.label in last:
            yield sql.SQL(
                "SELECT CASE WHEN n.next > s.seqmax THEN pg_catalog.setval(s.seqrelid, s.seqmax)"
                " ELSE pg_catalog.setval(s.seqrelid, greatest(n.next, s.seqmin), false) END"
                " FROM pg_catalog.pg_sequence s, (SELECT {}::bigint AS next) AS n"
                " WHERE s.seqrelid = {}::regclass"
            ).format(
                sql.Literal(last[feed.label] + feed.increment),
                sql.Literal(sql.Identifier(feed.schema, feed.sequence).as_string(None)),
            )


def issued_rows(
    connection: Connection[tuple[object, ...]], feed: Feed, schema: Schema, last: tuple[int, int]
) -> list[Row]:
    """The first rows whose ids lie between two positions of the sequence, as the database's own
    text, in the order of their ids."""
    table = schema.table(feed.table)
    text = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(column.name)
        )
        for column in table.columns
    )
    rows = connection.execute(
        sql.SQL(
            "SELECT {} FROM {} WHERE {column} > %s AND {column} <= %s ORDER BY {column} LIMIT %s"
        ).format(
            text,
            sql.Identifier(table.schema, table.relation),
            column=sql.Identifier(feed.column),
        ),
        (*last, _ROWS_MAX),
    ).fetchall()
    names = [column.name for column in table.columns]
    return [
        {
            name: None if value is None else str(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]
