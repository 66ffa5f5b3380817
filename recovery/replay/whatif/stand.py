"""Where the working database stands: which version of each row is in it, and how it is brought to
another. Rows are put there with triggers and foreign keys silent, since they were there before.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import Connection, sql

from recovery.replay.whatif.record import PINS, SCHEMA
from recovery.replay.whatif.relations import ALL, Relation, Relations
from recovery.replay.whatif.runner import WRITES, Untold
from recovery.replay.whatif.versions import Content, Versions

_ROWS = "\x01"  # stands for the rows
_HERE = sql.SQL("\x01")
_WHOLE = 256  # so many rows that differ: the whole table is brought there instead


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is otherwise than in the base: `content` here, `base` there."""

    content: Content
    base: Content
    mask: int
    stamp: int

    def places(self, count: int) -> list[int]:
        """The columns in which it is otherwise, of so many."""
        return [place for place in range(count) if self.mask & (2 << place)]


@dataclass(slots=True)
class Differences:
    """Rows that are otherwise in the world being tried, per table. `loose`: those that the working
    database does not hold so yet."""

    rows: list[dict[str, Difference]]
    loose: list[set[str]] = field(default_factory=list)

    def content(self, versions: Versions, table: int, key: str, act: int) -> Content:
        """Of a known row in this world, after the act of this number."""
        found = self.rows[table].get(key)
        return versions.at(table, key, act) if found is None else found.content


class Stand:
    """A table stands where the base was after act `at[table]`, but for the rows in `other`."""

    def __init__(
        self,
        connection: Connection[tuple[object, ...]],
        relations: Relations,
        versions: Versions,
        last: int,
    ) -> None:
        self.moved = 0
        self._connection = connection
        self._relations = relations
        self._versions = versions
        self._last = last
        self._moves: dict[int, tuple[sql.SQL, sql.SQL]] = {}
        self.back()

    def back(self) -> None:
        """The transaction was rolled back."""
        self.at = [self._last for _ in self._relations.tables]
        self.other: list[dict[str, Content]] = [{} for _ in self._relations.tables]

    def holds(self, table: int, key: str) -> Content:
        """The content of a known row that the database has now."""
        other = self.other[table]
        return other[key] if key in other else self._versions.at(table, key, self.at[table])

    def wrote(self, table: int, key: str, content: Content) -> None:
        """An act left the row so."""
        self.other[table][key] = content

    def differing(self, table: int, mask: int, act: int) -> set[str]:
        """Rows that may not be as they were after `act` in a column of the mask."""
        low, high = sorted((act, self.at[table]))
        return {*self._versions.between(table, low, high, mask), *self.other[table]}

    def bring(
        self,
        rows: Mapping[int, set[str]],
        whole: Iterable[int],
        world: Differences,
        act: int,
    ) -> bool:
        """These rows, and all rows of these tables, to where the world has them after `act`.
        Whether anything had to be moved."""
        whole = set(whole)
        todo: dict[int, list[tuple[str, Content, Content]]] = {}
        for table in {*rows, *whole}:
            keys = set(rows.get(table, ()))
            if table not in whole and len(keys) > _WHOLE:
                whole.add(table)
            if table in whole:
                keys |= self.differing(table, ALL, act)
                keys |= self._versions_of(world, table)
            moves = []
            for key in keys:
                have = self.holds(table, key)
                want = world.content(self._versions, table, key, act)
                if have != want:
                    moves.append((key, have, want))
                if table not in whole:
                    self.other[table][key] = want
            if table in whole:
                self.at[table] = act
                self.other[table] = {key: one.content for key, one in world.rows[table].items()}
            world.loose[table] -= keys
            if moves:
                todo[table] = moves
        if todo:
            self._move(todo)
        return bool(todo)

    def _versions_of(self, world: Differences, table: int) -> set[str]:
        return set(world.rows[table])

    def _move(self, todo: Mapping[int, list[tuple[str, Content, Content]]]) -> None:
        """In one message: there may be many small moves. Raises Untold."""
        quiet = sql.SQL("SELECT {}.quiet({})")
        schema = sql.Identifier(SCHEMA)
        moving: list[tuple[sql.Composed, int]] = []
        for table, moves in todo.items():
            self.moved += len(moves)
            moving += self._moving(self._relations.tables[table], moves)
        texts: list[sql.Composable] = [sql.SQL(one) for one in ("RESET ALL", *PINS)]
        texts.append(quiet.format(schema, sql.SQL("true")))
        texts += [text for text, _ in moving]
        texts.append(quiet.format(schema, sql.SQL("false")))
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("; ").join(texts), prepare=False)
            moved = [cursor.rowcount] if _writes(cursor) else []
            while cursor.nextset():
                moved += [cursor.rowcount] if _writes(cursor) else []
        if moved != [count for _, count in moving]:
            raise Untold("rows were not where they should have been")

    def _moving(
        self, relation: Relation, moves: list[tuple[str, Content, Content]]
    ) -> Iterator[tuple[sql.Composed, int]]:
        """What makes these moves, and how many rows each of it has to meet."""
        if not relation.keyed:
            yield from self._moving_copies(relation, moves)
            return
        delete, insert = self._statements(relation)
        gone = [have for _, have, _ in moves if have is not None]
        come = [want for _, _, want in moves if want is not None]
        if gone:
            yield delete.format(sql.Literal(gone)), len(gone)
        if come:
            yield insert.format(sql.Literal(come)), len(come)

    def _moving_copies(
        self, relation: Relation, moves: list[tuple[str, Content, Content]]
    ) -> Iterator[tuple[sql.Composed, int]]:
        _, insert = self._statements(relation)
        come: list[str] = []
        for text, have, want in moves:
            assert isinstance(have, int)
            assert isinstance(want, int)
            come += [text] * (want - have)
            if have > want:
                # Whatever a column is called, (t.*) is the row.
                delete = sql.SQL(
                    "DELETE FROM {table} WHERE (tableoid, ctid) IN (SELECT t.tableoid, t.ctid"
                    " FROM {table} AS t WHERE (t.*)::text = {} LIMIT {})"
                ).format(sql.Literal(text), sql.Literal(have - want), table=relation.identifier)
                yield delete, have - want
        if come:
            yield insert.format(sql.Literal(come)), len(come)

    def _statements(self, relation: Relation) -> tuple[sql.SQL, sql.SQL]:
        """A DELETE and an INSERT of the rows with the texts that are put in their place."""
        if relation.number in self._moves:
            return self._moves[relation.number]
        rows = sql.SQL("(SELECT u::{} AS r FROM pg_catalog.unnest({}::text[]) AS u OFFSET 0) AS q")
        columns = [one for one in relation.columns if not one.generated]
        names = [sql.Identifier(one.name) for one in columns]
        delete = sql.SQL("DELETE FROM {} AS t USING {} WHERE {}").format(
            relation.identifier,
            rows.format(relation.identifier, _HERE),
            sql.SQL(" AND ").join(
                sql.SQL("t.{0} = (q.r).{0}").format(sql.Identifier(one.name))
                for one in relation.table.key_columns
            ),
        )
        insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
            relation.identifier,
            sql.SQL(", ").join(names),
            sql.SQL(", ").join(sql.SQL("(q.r).{}").format(one) for one in names),
            rows.format(relation.identifier, _HERE),
        )
        found = _with_a_place(delete), _with_a_place(insert)
        self._moves[relation.number] = found
        return found


def _writes(cursor: psycopg.Cursor[tuple[object, ...]]) -> bool:
    return (cursor.statusmessage or "").startswith(WRITES)


def _with_a_place(statement: sql.Composed) -> sql.SQL:
    text = statement.as_string(None).replace("{", "{{").replace("}", "}}")
    return sql.SQL(text.replace(_ROWS, "{}"))
