"""Which rows must stand as they were before an act, so that it does in the working database what
it would have done: those it looks at, those it writes, and those that constraints compare with
them. What was left out is found from what the act then wrote, and the act is run again.
"""

from collections.abc import Iterable, Sequence

from recovery.replay.whatif.filters import normal
from recovery.replay.whatif.reach import Values, compared
from recovery.replay.whatif.reads import Access, Reading
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import Relations
from recovery.replay.whatif.stand import Differences, Stand
from recovery.replay.whatif.versions import Place, Versions, fields, steps

_MANY = 256  # so many rows that differ: the whole table is brought there instead
_NOTHING: frozenset[str] = frozenset()

Rows = dict[int, set[str]]


class Footprint:
    def __init__(self, relations: Relations, versions: Versions, stand: Stand) -> None:
        self._relations = relations
        self._versions = versions
        self._stand = stand
        self._by_values: dict[tuple[int, tuple[int, ...]], dict[Values, set[str]]] = {}
        self._by_text: dict[Place | tuple[int, int], dict[str, set[str]]] = {}

    def tables(self, reading: Reading) -> set[int]:
        """All that may matter to an act: what it names, and what constraints look up."""
        if reading.opaque:
            return set(range(len(self._relations.tables)))
        named = reading.tables
        for table, _ in reading.writes:
            named |= {one.parent for one in self._relations.parents[table]}
            named |= {one.child for one in self._relations.children[table]}
        return named

    def wanted(
        self,
        reading: Reading,
        hints: Iterable[Place],
        likely: Iterable[Written],
        world: Differences,
        act: int,
    ) -> tuple[Rows, set[int]]:
        """Rows, and tables of which all rows, that must be as after base act `act`. `hints` are
        rows that it wrote in the base or that brought it up, `likely` what it wrote there."""
        tables = self.tables(reading)
        if reading.opaque:
            return {}, tables
        rows: Rows = {table: set(world.loose[table]) for table in tables}
        whole = {table for table, _ in reading.writes if self._relations.tables[table].odd}
        for table, key in hints:
            rows.setdefault(table, set()).add(key)
        for access in reading.accesses:
            self._looked_at(access, act, rows, whole)
        for written in likely:
            self._compared(written, rows)
        self._clear(rows, world, act)
        return rows, whole

    def missing(self, written: Sequence[Written], world: Differences, act: int) -> Rows:
        """Rows that were not as they should have been, judged by what the act wrote."""
        rows: Rows = {}
        for one in written:
            self._compared(one, rows)
            for step in steps(self._relations.tables[one.table], one):
                if self._versions.knows(one.table, step.key):
                    rows.setdefault(one.table, set()).add(step.key)
        found: Rows = {}
        for table, keys in rows.items():
            wrong = {key for key in keys if self._wrong(table, key, world, act)}
            if wrong:
                found[table] = wrong
        return found

    def _wrong(self, table: int, key: str, world: Differences, act: int) -> bool:
        wanted = world.content(self._versions, table, key, act)
        return self._stand.holds(table, key) != wanted

    def _looked_at(self, access: Access, act: int, rows: Rows, whole: set[int]) -> None:
        table = access.table
        if access.filter.equal:
            place, texts = access.filter.equal[0]
            column = self._relations.tables[table].columns[place]
            by_text = self._texts(table, place)
            for text in texts:
                rows[table] |= by_text.get(normal(text, column) or "", _NOTHING)
            return
        keys = self._stand.differing(table, access.mask, act)
        if len(keys) > _MANY:
            whole.add(table)
        else:
            rows[table] |= keys

    def _compared(self, written: Written, rows: Rows) -> None:
        """Rows whose values constraints compare with those of a row that is written."""
        relations, table = self._relations, written.table
        if written.new is not None:
            values = fields(written.new)
            for unique in relations.uniques[table]:
                self._alike(table, unique.columns, table, unique.columns, values, rows)
            for one in relations.parents[table]:
                self._alike(one.parent, one.parent_columns, table, one.columns, values, rows)
        if written.old is not None and relations.children[table]:
            values = fields(written.old)
            after = () if written.new is None else fields(written.new)
            for one in relations.children[table]:
                if not after or any(after[n] != values[n] for n in one.parent_columns):
                    self._alike(one.child, one.columns, table, one.parent_columns, values, rows)

    def _alike(
        self,
        seen: int,
        columns: tuple[int, ...],
        table: int,
        places: tuple[int, ...],
        values: Sequence[str | None],
        rows: Rows,
    ) -> None:
        told = compared(self._relations.tables[table], places, values)
        if told is not None:
            keys = self._values(seen, columns).get(told)
            if keys:
                rows.setdefault(seen, set()).update(keys)

    def _clear(self, rows: Rows, world: Differences, act: int) -> None:
        """Rows that stand in the way of those that are to be brought."""
        todo = [(table, key) for table, keys in rows.items() for key in keys]
        while todo:
            table, key = todo.pop()
            uniques = self._relations.uniques[table]
            if len(uniques) < 2 or not self._wrong(table, key, world, act):
                continue
            text = world.content(self._versions, table, key, act)
            if not isinstance(text, str):
                continue
            more: Rows = {}
            for unique in uniques:
                self._alike(table, unique.columns, table, unique.columns, fields(text), more)
            fresh = more.get(table, set()) - rows[table]
            rows[table] |= fresh
            todo += [(table, one) for one in fresh]

    def _values(self, table: int, columns: tuple[int, ...]) -> dict[Values, set[str]]:
        """Rows by the values that they ever had in these columns."""
        name = (table, columns)
        if name not in self._by_values:
            relation = self._relations.tables[table]
            found: dict[Values, set[str]] = {}
            for key, row in self._versions.rows[table].items():
                for content in (row.first, *row.contents) if relation.keyed else (key,):
                    if isinstance(content, str):
                        told = compared(relation, columns, fields(content))
                        if told is not None:
                            found.setdefault(told, set()).add(key)
            self._by_values[name] = found
        return self._by_values[name]

    def _texts(self, table: int, place: int) -> dict[str, set[str]]:
        """Rows by the texts that they ever had in a column."""
        name = (table, place)
        if name not in self._by_text:
            relation = self._relations.tables[table]
            found: dict[str, set[str]] = {}
            for key, row in self._versions.rows[table].items():
                for content in (row.first, *row.contents) if relation.keyed else (key,):
                    if isinstance(content, str):
                        told = normal(fields(content)[place], relation.columns[place])
                        if told is not None:
                            found.setdefault(told, set()).add(key)
            self._by_text[name] = found
        return self._by_text[name]
