"""Statements that treat every row by itself: `UPDATE account SET balance = balance + 5 WHERE ...`.

What such a statement makes of a row that is otherwise can be told from that row alone. Nothing
else has to be run, or put in its place: all other rows come out as in the base. That is taken on
only where nothing beside the row can see the change (no trigger, no constraint over the columns
that are set), and believed only where it tells the writes of the base as well.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import postgast
from postgast import pg_query_pb2 as ast

from recovery.replay.whatif.base import Base
from recovery.replay.whatif.dependence import Dependence
from recovery.replay.whatif.expressions import (
    Fields,
    Kind,
    Row,
    Term,
    Unsure,
    assigned,
    column_kind,
    compiled,
    takes,
)
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import EXISTENCE, Relation, Relations
from recovery.replay.whatif.versions import fields

_ROWS_TRIED = 12  # of an act in the base, before what is computed for it is believed
_PLAIN = re.compile(r"[^ \t\n\r\f\v(),\"\\]+")


@dataclass(frozen=True, slots=True)
class Setting:
    """An UPDATE of one table. `sets`: columns by place, and what they become."""

    table: int
    where: Term | None
    sets: tuple[tuple[int, Kind, Term], ...]

    def result(self, relation: Relation, text: str, now: str) -> str | None:
        """What becomes of the row with this text; None: it is not written. Raises Unsure."""
        values = fields(text)
        row = Row(values, now)
        if self.where is not None and self.where.value(row) is not True:
            return None
        fresh = list(values)
        for place, kind, term in self.sets:
            fresh[place] = assigned(term.value(row), relation.columns[place], kind)
        return row_text(tuple(fresh))


@dataclass(frozen=True, slots=True)
class Known:
    """All that an act does to a table, at its time as the server prints it."""

    now: str
    all: tuple[Setting, ...]

    def tells(self, base: Base, act: int) -> bool:
        """Whether that is what the act did in the base."""
        if not self.all:
            return True
        table = self.all[0].table
        relation = base.relations.tables[table]
        told: dict[int, list[Written]] = {}
        rows: dict[str, int] = {}
        written = [one for one in base.versions.written[act] if one.table == table]
        if any(one.old is None or one.new is None for one in written):
            return False
        for number, one in enumerate(written):  # the writes of one row follow from one another
            first = rows.pop(str(one.old), number)
            told.setdefault(first, []).append(one)
            rows[str(one.new)] = first
        some = islice(told.values(), _ROWS_TRIED)
        return all(_tells(relation, self, chain) for chain in some)


class Alone:
    """Acts of a base run, table by table."""

    def __init__(self, base: Base, dependence: Dependence) -> None:
        self._base = base
        self._dependence = dependence
        self._acts: dict[tuple[int, int], Known | None] = {}
        self._statements: dict[str, Setting | None] = {}
        self._held: dict[str, tuple[frozenset[int], frozenset[int]]] = {}
        self._bits = tuple(
            _constrained_bits(base.relations, number)
            for number in range(len(base.relations.tables))
        )

    def writes(self, act: int, table: int, content: str | None, mask: int) -> list[Written] | None:
        """What a base act does to a row of `table` that is otherwise in the columns of `mask`,
        and is `content` before it. None: that takes a run of the act."""
        settings = self._settings(act, table)
        if settings is None:
            return None
        if mask & self._bits[table] and self._constrained(act, table):
            return None
        if content is None:
            return []
        found: list[Written] = []
        relation = self._base.relations.tables[table]
        try:
            for one in settings.all:
                after = one.result(relation, content, settings.now)
                if after is not None:
                    found.append(Written(table, content, after))
                    content = after
        except Unsure:
            return None
        return found

    def _settings(self, act: int, table: int) -> Known | None:
        """What the act does to the table, if to every row of it by itself."""
        name = (act, table)
        if name not in self._acts:
            found = self._found(act, table)
            self._acts[name] = found if found is not None and found.tells(self._base, act) else None
        return self._acts[name]

    def _found(self, act: int, table: int) -> Known | None:
        if not self._base.plain(act):
            return None
        found: list[Setting] = []
        for text in self._base.history[act].statements:
            setting = self._setting(text)
            if setting is None:
                if self._dependence.companions and table in self._meets(text)[0]:
                    return None
            elif setting.table == table:
                found.append(setting)
        return Known(moment(self._base.history[act].at), tuple(found))

    def _setting(self, text: str) -> Setting | None:
        if text not in self._statements:
            self._statements[text] = setting_of(
                text, self._base.relations, seen=self._dependence.onlookers
            )
        return self._statements[text]

    def _constrained(self, act: int, table: int) -> bool:
        """Whether constraints of what else the act writes look at the table."""
        return any(
            table in self._meets(text)[1]
            for text in self._base.history[act].statements
            if self._setting(text) is None
        )

    def _meets(self, text: str) -> tuple[frozenset[int], frozenset[int]]:
        """Tables that a statement names or comes to, and those that constraints look up for it."""
        if text not in self._held:
            reading = self._base.reader.read([text])
            relations = self._base.relations
            looked = {
                number
                for table, _ in reading.writes
                for one in (*relations.parents[table], *relations.children[table])
                for number in (one.parent, one.child)
            }
            self._held[text] = frozenset(reading.tables), frozenset(looked)
        return self._held[text]


def _tells(relation: Relation, settings: Known, chain: Sequence[Written]) -> bool:
    content = chain[0].old
    left = list(chain)
    for one in settings.all:
        assert content is not None
        try:
            after = one.result(relation, content, settings.now)
        except Unsure:
            return False
        if after is None:
            continue
        if not left or left[0].old != content or left[0].new != after:
            return False
        content = left.pop(0).new
    return not left


def one_update(text: str) -> ast.ParseResult | None:
    """The text, read, when it is an UPDATE and nothing else."""
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError:
        return None
    if len(tree.stmts) != 1 or tree.stmts[0].stmt.WhichOneof("node") != "update_stmt":
        return None
    return tree


def setting_of(text: str, relations: Relations, *, seen: bool = True) -> Setting | None:
    """None: it is no statement that treats every row by itself, or not one computed here. Not
    `seen`: as if nothing beside the rows saw what it sets."""
    tree = one_update(text)
    if tree is None:
        return None
    update = tree.stmts[0].stmt.update_stmt
    if (
        len(update.from_clause) > 0
        or update.HasField("returning_clause")
        or update.HasField("with_clause")
    ):
        return None
    number = relations.number(update.relation.schemaname, update.relation.relname)
    if number is None or not _simple(relations, number, seen=seen):
        return None
    relation = relations.tables[number]
    name = update.relation.alias.aliasname or update.relation.relname
    where = None
    if update.where_clause.WhichOneof("node"):
        where = compiled(update.where_clause, relation, name, relations.by_name)
        if where is None or where.kind != "bool":
            return None
    sets = _sets(update.target_list, relations, relation, name, seen=seen)
    return None if sets is None else Setting(number, where, sets)


def _sets(
    targets: Iterable[ast.Node],
    relations: Relations,
    relation: Relation,
    name: str,
    *,
    seen: bool,
) -> tuple[tuple[int, Kind, Term], ...] | None:
    found: list[tuple[int, Kind, Term]] = []
    fixed = _constrained_bits(relations, relation.number)
    texts = relation.texts if seen else ()
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    if relation.table.relation in words:
        return None  # the whole row is looked at
    for one in targets:
        target = one.res_target
        place = relation.places.get(target.name)
        if place is None or len(target.indirection) or fixed & (2 << place):
            return None
        kind = column_kind(relation.columns[place])
        term = compiled(target.val, relation, name, relations.by_name)
        if kind is None or term is None or not takes(kind, term.kind) or target.name in words:
            return None
        found.append((place, kind, term))
    return tuple(found)


def _simple(relations: Relations, number: int, *, seen: bool) -> bool:
    """Whether an UPDATE of a table's plain columns is seen by nothing else."""
    relation = relations.tables[number]
    return (
        relation.keyed
        and not relation.table.partitioned
        and not relation.ruled
        and not relation.odd
        and not relation.guarded
        and not any(column.generated for column in relation.columns)
        and not (seen and any("update" in one.ops for one in relations.triggers[number]))
    )


def _constrained_bits(relations: Relations, number: int) -> int:
    """Columns, and the existence of rows, that constraints look at."""
    sets = [relations.tables[number].key]
    sets += [one.columns for one in relations.uniques[number]]
    sets += [one.columns for one in relations.parents[number]]
    sets += [one.parent_columns for one in relations.children[number]]
    mask = EXISTENCE
    for places in sets:
        for place in places:
            mask |= 2 << place
    return mask


def row_text(values: Fields) -> str:
    """A row as the server prints it."""
    return f"({','.join(_quoted(one) for one in values)})"


def _quoted(value: str | None) -> str:
    if value is None:
        return ""
    if _PLAIN.fullmatch(value):
        return value
    doubled = value.replace("\\", "\\\\").replace('"', '""')
    return f'"{doubled}"'


def moment(at: datetime) -> str:
    """As the server prints a moment, in UTC."""
    there = at.astimezone(UTC)
    fraction = f".{there.microsecond:06}".rstrip("0") if there.microsecond else ""
    return f"{there:%Y-%m-%d %H:%M:%S}{fraction}+00"
