"""Which act is the next that can tell that a row is otherwise.

Acts are found by what they look at: rows that they wrote in the base, constants that they compare
columns with, conditions, and values that constraints compare. Both the image in the base and the
one in the other world are tried: a row that a condition did not select may be selected now.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql

from diffing.model import Column
from recovery.replay.whatif.dependence import Dependence
from recovery.replay.whatif.filters import normal
from recovery.replay.whatif.reads import Access, Reading
from recovery.replay.whatif.relations import ALL, EXISTENCE, Relation, Relations
from recovery.replay.whatif.stand import Difference
from recovery.replay.whatif.versions import Content, Place, Versions, fields

Values = tuple[str | None, ...]
_ByMask = dict[int, list[int]]  # acts, by the columns that they look at

_EXACT = frozenset({"text", "timestamptz"})  # equal values have equal texts
_NEVER = 1 << 60  # behind all acts
_ROOM = 400  # conditions tried in one query


@dataclass(frozen=True, slots=True)
class Clash:
    """Values of a table's rows that constraints compare, and the acts that wrote the like."""

    columns: tuple[int, ...]
    mask: int
    acts: dict[Values, list[int]]


@dataclass(frozen=True, slots=True)
class _Lookers:
    """Who can tell that columns of a table are otherwise: acts that look at every row of it,
    such as compare a column with constants (and whether it is among these), and constraints."""

    plain: Sequence[int]
    equal: Sequence[tuple[int, bool, dict[str, _ByMask]]]
    clashes: Sequence[Clash]


class Judge:
    """Asks the server which rows pass which conditions. Remembers what it was told."""

    def __init__(self, connection: Connection[tuple[object, ...]], relations: Relations) -> None:
        self._connection = connection
        self._relations = relations
        self._conditions: dict[int, dict[str, int]] = {}
        self._verdicts: dict[tuple[int, str], Sequence[bool]] = {}

    def learn(self, table: int, where: str) -> int:
        """The number of a condition."""
        known = self._conditions.setdefault(table, {})
        return known.setdefault(where, len(known))

    def passes(self, table: int, text: str, condition: int) -> bool:
        name = (table, text)
        if name not in self._verdicts:
            self.ask(table, [text])
        return self._verdicts[name][condition]

    def ask(self, table: int, texts: Iterable[str]) -> None:
        """Have the server judge these rows by all conditions at once."""
        known = self._conditions.get(table, {})
        new = [one for one in dict.fromkeys(texts) if (table, one) not in self._verdicts]
        if not new or not known:
            return
        if len(self._verdicts) > 100_000:
            self._verdicts.clear()
        relation = self._relations.tables[table]
        found: list[list[bool]] = [[] for _ in new]
        wheres = list(known)
        for start in range(0, len(wheres), _ROOM):
            part = wheres[start : start + _ROOM]
            for verdict, row in zip(found, self._judged(relation, new, part), strict=True):
                verdict += row
        for text, verdict in zip(new, found, strict=True):
            self._verdicts[table, text] = verdict

    def _judged(
        self, relation: Relation, texts: Sequence[str], wheres: Sequence[str]
    ) -> list[list[bool]]:
        query = sql.SQL(
            "SELECT ARRAY[{}] FROM (SELECT (q.r).*, q.n AS {} FROM (SELECT u::{} AS r, n"
            " FROM pg_catalog.unnest(%s::text[]) WITH ORDINALITY AS t (u, n) OFFSET 0) AS q) AS q"
            " ORDER BY {}"
        ).format(
            sql.SQL(", ").join(sql.SQL("({}) IS TRUE").format(sql.SQL(one)) for one in wheres),
            sql.Identifier(" n"),
            relation.identifier,
            sql.Identifier(" n"),
        )
        try:
            rows = self._connection.execute(query, (list(texts),), prepare=True).fetchall()
        except psycopg.Error:
            if self._connection.closed:
                raise
            return [[True] * len(wheres) for _ in texts]  # not to be judged: anything may pass
        found: list[list[bool]] = []
        for (verdict,) in rows:
            assert isinstance(verdict, list)
            found.append([bool(one) for one in verdict])
        return found


class Reach:
    """Built once for a base run. `failed`: acts of which nothing was left."""

    def __init__(
        self,
        relations: Relations,
        versions: Versions,
        readings: Sequence[Reading],
        failed: frozenset[int],
        dependence: Dependence,
        judge: Judge,
    ) -> None:
        self._relations = relations
        self._dependence = dependence
        self._judge = judge
        count = len(relations.tables)
        self._writers: dict[Place, list[int]] = {}
        self._equal: list[dict[int, dict[str, _ByMask]]] = [{} for _ in range(count)]
        self._scans: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
        self._plain: list[_ByMask] = [{} for _ in range(count)]
        self._clashes: list[list[Clash]] = [self._clashes_of(one) for one in range(count)]
        self._lookers: dict[tuple[int, int], _Lookers] = {}
        self.opaque: list[int] = []
        for act, reading in enumerate(readings):
            self._note_writes(act, versions)
            if reading.opaque or reading.session:
                self.opaque.append(act)
            self._note_reads(act, reading, act in failed)

    # --- what acts look at ------------------------------------------------------------------------

    def _note_writes(self, act: int, versions: Versions) -> None:
        for place in versions.touched[act]:
            self._writers.setdefault(place, []).append(act)
        if not self._dependence.constraints:
            return
        for written in versions.written[act]:
            for text, came in ((written.old, False), (written.new, True)):
                if text is not None:
                    self._note_values(act, written.table, fields(text), came=came)

    def _note_values(
        self, act: int, table: int, values: Sequence[str | None], *, came: bool
    ) -> None:
        relations = self._relations
        if came:
            for unique in relations.uniques[table]:
                self._note_clash(act, table, unique.columns, table, unique.columns, values)
            for one in relations.parents[table]:
                self._note_clash(act, one.parent, one.parent_columns, table, one.columns, values)
        else:
            for one in relations.children[table]:
                self._note_clash(act, one.child, one.columns, table, one.parent_columns, values)

    def _note_clash(
        self,
        act: int,
        seen: int,
        columns: tuple[int, ...],
        table: int,
        places: tuple[int, ...],
        values: Sequence[str | None],
    ) -> None:
        told = compared(self._relations.tables[table], places, values)
        if told is None:
            return
        for clash in self._clashes[seen]:
            if clash.columns == columns:
                acts = clash.acts.setdefault(told, [])
                if not acts or acts[-1] != act:
                    acts.append(act)

    def _clashes_of(self, table: int) -> list[Clash]:
        relations = self._relations
        sets = {one.columns for one in relations.uniques[table]}
        sets |= {one.parent_columns for one in relations.children[table]}
        sets |= {one.columns for one in relations.parents[table]}
        return [
            Clash(one, EXISTENCE | sum(2 << place for place in one), {}) for one in sorted(sets)
        ]

    def _note_reads(self, act: int, reading: Reading, failed: bool) -> None:
        if reading.opaque:
            for table in range(len(self._relations.tables)):
                _note(self._plain[table], act, ALL)
            return
        blind = failed or reading.unobserved
        if blind and not self._dependence.failures:
            return
        for access in reading.accesses:
            self._note_access(act, access, blind)
        if not self._dependence.constraints:
            return
        for table in {table for table, op in reading.writes if op != "delete"}:
            if self._relations.tables[table].odd:
                _note(self._plain[table], act, ALL)
        if blind:
            for table, _ in reading.writes:
                self._note_constraints(act, table)

    def _note_access(self, act: int, access: Access, blind: bool) -> None:
        wanted = self._dependence.predicates if access.target else self._dependence.expressions
        if not wanted:
            return
        mask = ALL if blind and access.target else access.mask
        relation = self._relations.tables[access.table]
        if access.filter.equal:
            place, texts = access.filter.equal[0]
            by_text = self._equal[access.table].setdefault(place, {})
            for text in texts:
                told = normal(text, relation.columns[place])
                assert told is not None
                _note(by_text.setdefault(told, {}), act, mask)
        elif access.filter.where:
            number = self._judge.learn(access.table, access.filter.where)
            self._scans[access.table].append((act, mask, number))
        else:
            _note(self._plain[access.table], act, mask)

    def _note_constraints(self, act: int, table: int) -> None:
        """Of an act that does not show what it would have written: any row may be in its way."""
        for clash in self._clashes[table]:
            _note(self._plain[table], act, clash.mask)
        for one in self._relations.parents[table]:
            mask = EXISTENCE | sum(2 << place for place in one.parent_columns)
            _note(self._plain[one.parent], act, mask)
        for one in self._relations.children[table]:
            mask = EXISTENCE | sum(2 << place for place in one.columns)
            _note(self._plain[one.child], act, mask)

    # --- who can tell -----------------------------------------------------------------------------

    def prepare(self, table: int, rows: Iterable[tuple[str, Difference]]) -> None:
        """These will be asked about: have all their images judged at once."""
        if self._scans[table]:
            texts = [one for key, row in rows for one in self._images(table, key, row)]
            self._judge.ask(table, texts)

    def after(self, table: int, key: str, row: Difference, act: int) -> int | None:
        """The next act behind `act` that can tell this row from that of the base."""
        mask = row.mask
        lookers = self._looking_at(table, mask)
        first = _next(lookers.plain, act)
        if self._dependence.writes:
            first = min(first, _next(self._writers.get((table, key), ()), act))
        scans = self._scans[table]
        if lookers.equal or lookers.clashes or scans:
            images = self._images(table, key, row)
            first = min(first, self._compared(table, lookers, images, mask, act))
            if scans:
                first = self._scan(table, images, mask, act, first)
        return None if first == _NEVER else first

    def _looking_at(self, table: int, mask: int) -> _Lookers:
        known = self._lookers.get((table, mask))
        if known is None:
            plain = {one for columns, acts in self._plain[table].items() if columns & mask
                     for one in acts}  # fmt: skip
            equal = [
                (place, bool(mask & (2 << place)), by_text)
                for place, by_text in self._equal[table].items()
            ]
            clashes = [one for one in self._clashes[table] if one.mask & mask]
            known = _Lookers(sorted(plain), equal, clashes)
            self._lookers[table, mask] = known
        return known

    def _compared(
        self, table: int, lookers: _Lookers, images: Sequence[str], mask: int, act: int
    ) -> int:
        """The next act with a constant, or a constraint over values, that these rows meet."""
        first = _NEVER
        relation = self._relations.tables[table]
        values = [fields(one) for one in images]
        for place, apart, by_text in lookers.equal:
            column = relation.columns[place]
            for value in values if apart else values[:1]:
                acts = by_text.get(normal(value[place], column) or "")
                if acts:
                    first = min(first, _next_masked(acts, act, mask))
        for clash in lookers.clashes:
            for value in values:
                same = compared(relation, clash.columns, value)
                if same is not None:
                    first = min(first, _next(clash.acts.get(same, ()), act))
        return first

    def _scan(self, table: int, images: Sequence[str], mask: int, act: int, first: int) -> int:
        """The first act behind `act` with a condition that these rows meet, or `first` if that is
        before it."""
        scans = self._scans[table]
        for start in range(_first(scans, act), len(scans)):
            number, columns, condition = scans[start]
            if number >= first:
                return first
            if columns & mask and any(self._judge.passes(table, one, condition) for one in images):
                return number
        return first

    def _images(self, table: int, key: str, row: Difference) -> list[str]:
        if not self._relations.tables[table].keyed:
            return [key]  # all there is to such a row; only how many there are differs
        found: list[Content] = []
        if self._dependence.old_images:
            found.append(row.base)
        if self._dependence.phantoms:
            found.append(row.content)
        return [one for one in found if isinstance(one, str)]


def compared(
    relation: Relation, places: tuple[int, ...], values: Sequence[str | None]
) -> Values | None:
    """Values as constraints compare them; None when one is missing, which equals nothing."""
    told: list[str | None] = []
    for place in places:
        value = values[place]
        if value is None:
            return None
        told.append(_comparable(relation.columns[place], value))
    return tuple(told)


def _comparable(column: Column, value: str) -> str:
    if column.family in _EXACT:
        return value
    if column.family == "numeric":
        return normal(value, column) or "~"
    return "~"  # texts do not decide it: all alike


def _first(acts: Sequence[tuple[int, int, int]], act: int) -> int:
    low, high = 0, len(acts)
    while low < high:
        middle = (low + high) // 2
        if acts[middle][0] <= act:
            low = middle + 1
        else:
            high = middle
    return low


def _next(acts: Sequence[int], act: int) -> int:
    place = bisect_right(acts, act)
    return acts[place] if place < len(acts) else _NEVER


def _note(acts: _ByMask, act: int, mask: int) -> None:
    """Acts come in order."""
    known = acts.setdefault(mask, [])
    if not known or known[-1] != act:
        known.append(act)


def _next_masked(acts: _ByMask, act: int, mask: int) -> int:
    return min(
        (_next(numbers, act) for columns, numbers in acts.items() if columns & mask),
        default=_NEVER,
    )
