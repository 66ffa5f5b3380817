"""Acts that write what a sum over a table comes to: `UPDATE branch SET total = (SELECT
sum(balance) FROM account WHERE branch = 7) WHERE id = 7`.

The rows that are otherwise say by how much the sum is: the act need not be run. Only over whole
numbers and decimals, where the order of adding makes no difference.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import postgast
from postgast import pg_query_pb2 as ast

from recovery.replay.whatif.alone import Known, Setting, moment, one_update, setting_of
from recovery.replay.whatif.base import Base
from recovery.replay.whatif.dependence import Dependence
from recovery.replay.whatif.expressions import (
    INTEGERS,
    Row,
    Term,
    Unsure,
    column_kind,
    compiled,
    digits,
    read,
)
from recovery.replay.whatif.filters import last_name, reference
from recovery.replay.whatif.record import Written
from recovery.replay.whatif.relations import Relation, Relations
from recovery.replay.whatif.stand import Difference
from recovery.replay.whatif.versions import Content, Place, fields

_NEVER = 1 << 20  # stands for the sum while the rest of the statement is read
Dirty = Mapping[int, Mapping[str, Difference]]  # rows that are otherwise, by table


@dataclass(frozen=True, slots=True)
class Sum:
    """`setting`: what is written, where the column at `place` becomes the sum. `table`: what is
    summed up, in the column `adds`; None: rows are counted. `empty`: a sum of nothing is 0."""

    setting: Setting
    place: int
    table: int
    adds: int | None
    where: Term | None
    empty: bool

    def part(self, relations: Relations, content: Content) -> Decimal | None:
        """What a row adds; None: it is not there, or not counted. Raises Unsure."""
        if not isinstance(content, str):
            return None
        row = Row(fields(content), "")
        if self.where is not None and self.where.value(row) is not True:
            return None
        if self.adds is None:
            return Decimal(1)
        kind = column_kind(relations.tables[self.table].columns[self.adds])
        assert kind is not None
        value = read(row.fields[self.adds], kind)
        return None if value is None else Decimal(value)

    def change(
        self, relations: Relations, rows: Iterable[Difference], base: str | None, *, moving: bool
    ) -> str | None:
        """What the sum is here when it is `base` there; not `moving`: as if the same rows were
        counted. Raises Unsure."""
        here = there = Decimal(0)
        come = gone = False
        for row in rows:
            one = self.part(relations, row.content)
            other = self.part(relations, row.base)
            if not moving and (one is None or other is None):
                continue
            come |= one is not None
            gone |= other is not None
            here += one or 0
            there += other or 0
        if not come and not gone:
            return base
        if not come and not self.empty:
            raise Unsure  # perhaps nothing is left
        return format(Decimal(base or 0) + here - there, "f")


class Sums:
    """Acts of a base run that consist of one such statement."""

    def __init__(self, base: Base, dependence: Dependence) -> None:
        self._base = base
        self._dependence = dependence
        self._acts: dict[int, Sum | None] = {}

    def writes(
        self, act: int, dirty: Dirty, before: Callable[[Place], Content]
    ) -> dict[Place, list[Written]] | None:
        """What a base act does to rows that are otherwise, or otherwise for it. `before`: what a
        row is here before the act. None: that takes a run of it."""
        one = self._sum(act)
        if one is None or not dirty.keys() <= {one.table, one.setting.table}:
            return None
        table = one.setting.table
        written = self._written(act, table)
        own = dirty.get(table, {})
        if not written:
            return {} if not own else None  # what it came to is not known
        try:
            told = fields(str(written[0].new))[one.place]
            rows = dirty.get(one.table, {}).values()
            value = one.change(self._base.relations, rows, told, moving=self._dependence.parts)
            setting = self._with(one, value)
            found: dict[Place, list[Written]] = {}
            touched = [key for place, key in self._base.versions.touched[act] if place == table]
            for key in dict.fromkeys((*touched, *own)):
                found[table, key] = self._result(act, setting, before((table, key)))
        except Unsure:
            return None
        return found

    def _result(self, act: int, setting: Setting, content: Content) -> list[Written]:
        if not isinstance(content, str):
            return []
        relation = self._base.relations.tables[setting.table]
        after = setting.result(relation, content, moment(self._base.history[act].at))
        return [] if after is None else [Written(setting.table, content, after)]

    def _with(self, one: Sum, value: str | None) -> Setting:
        """The statement with the sum in its place."""
        number = None if value is None else Decimal(value)
        sets = tuple(
            (place, kind, Term("numeric", lambda row: number) if place == one.place else term)
            for place, kind, term in one.setting.sets
        )
        return replace(one.setting, sets=sets)

    def _written(self, act: int, table: int) -> list[Written]:
        return [one for one in self._base.versions.written[act] if one.table == table]

    def _sum(self, act: int) -> Sum | None:
        if act not in self._acts:
            self._acts[act] = self._found(act)
        return self._acts[act]

    def _found(self, act: int) -> Sum | None:
        statements = self._base.history[act].statements
        if len(statements) != 1 or not self._base.plain(act):
            return None
        one = sum_of(statements[0], self._base.relations)
        if one is None:
            return None
        written = self._written(act, one.setting.table)
        told = {fields(str(row.new))[one.place] for row in written if row.new is not None}
        if len(told) != (1 if written else 0):
            return None
        setting = self._with(one, told.pop()) if told else one.setting
        known = Known(moment(self._base.history[act].at), (setting,))
        return one if known.tells(self._base, act) else None


def sum_of(text: str, relations: Relations) -> Sum | None:
    """None: it is no statement of the kind, or not one computed here."""
    tree = one_update(text)
    if tree is None:
        return None
    update = tree.stmts[0].stmt.update_stmt
    sums = [
        (target.res_target.name, _select(target.res_target.val)) for target in update.target_list
    ]
    sums = [(name, found) for name, found in sums if found is not None]
    if len(sums) != 1:
        return None
    name, found = sums[0]
    assert found is not None
    select, empty = found
    source = _source(select, relations, empty=empty)
    if source is None:
        return None
    for target in update.target_list:
        if target.res_target.name == name:
            target.res_target.val.Clear()
            target.res_target.val.a_const.ival.ival = _NEVER
    setting = setting_of(postgast.deparse(tree), relations)
    if setting is None or setting.table == source.table:
        return None
    relation = relations.tables[setting.table]
    place = relation.places[name]
    if not _holds(relation, place, relations.tables[source.table], source.adds):
        return None
    return Sum(setting, place, source.table, source.adds, source.where, empty)


@dataclass(frozen=True, slots=True)
class _Source:
    table: int
    adds: int | None
    where: Term | None


def _select(value: ast.Node) -> tuple[ast.SelectStmt, bool] | None:
    """The subquery that a value is, perhaps with 0 where it has none."""
    if value.WhichOneof("node") != "sub_link":
        return None
    link = value.sub_link
    if link.sub_link_type != ast.EXPR_SUBLINK or len(link.subselect.select_stmt.target_list) != 1:
        return None
    select = link.subselect.select_stmt
    target = select.target_list[0].res_target.val
    if target.WhichOneof("node") != "coalesce_expr":
        return select, False
    parts = target.coalesce_expr.args
    zero = len(parts) == 2 and parts[1].a_const.WhichOneof("val") == "ival"
    return (select, True) if zero and not parts[1].a_const.ival.ival else None


def _source(select: ast.SelectStmt, relations: Relations, *, empty: bool) -> _Source | None:
    """What is summed up, where that is the rows of one table that pass a condition."""
    plain = {"target_list", "from_clause", "where_clause", "limit_option", "op"}
    if {name.name for name, _ in select.ListFields()} - plain or len(select.from_clause) != 1:
        return None
    if select.from_clause[0].WhichOneof("node") != "range_var":
        return None
    named = select.from_clause[0].range_var
    number = relations.number(named.schemaname, named.relname)
    if number is None or not relations.tables[number].keyed or relations.tables[number].guarded:
        return None
    relation = relations.tables[number]
    name = named.alias.aliasname or named.relname
    where = None
    if select.where_clause.WhichOneof("node"):
        where = compiled(select.where_clause, relation, name, relations.by_name)
        if where is None or where.kind != "bool":
            return None
    target = select.target_list[0].res_target.val
    call = target.coalesce_expr.args[0].func_call if empty else target.func_call
    known = _adds(call, relation, name, relations)
    return None if known is None else _Source(number, known[0], where)


def _adds(
    call: ast.FuncCall, relation: Relation, name: str, relations: Relations
) -> tuple[int | None] | None:
    dressed = call.agg_distinct or call.func_variadic or len(call.agg_order) > 0
    if dressed or call.HasField("over") or call.HasField("agg_filter"):
        return None
    if len(call.funcname) != 1 or last_name(call) in relations.by_name:
        return None
    if last_name(call) == "count" and call.agg_star:
        return (None,)
    if last_name(call) != "sum" or len(call.args) != 1:
        return None
    if call.args[0].WhichOneof("node") != "column_ref":
        return None
    names = reference(call.args[0].column_ref)
    if len(names) > 2 or (len(names) == 2 and names[0] != name):
        return None
    place = relation.places.get(names[-1])
    return None if place is None else (place,)


def _holds(target: Relation, place: int, source: Relation, adds: int | None) -> bool:
    """Whether the column keeps the sum as it is, without rounding it."""
    column = target.columns[place]
    if adds is None:
        return column.type in INTEGERS
    summed = source.columns[adds]
    if summed.type in INTEGERS:
        return column.type in INTEGERS or digits(column) is not None
    theirs, ours = digits(summed), digits(column)
    return theirs is not None and ours is not None and theirs <= ours
