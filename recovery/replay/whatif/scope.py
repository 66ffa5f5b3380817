"""The names of one statement, all its levels together: tables, columns, functions."""

from dataclasses import dataclass

from postgast import pg_query_pb2 as ast

from recovery.replay.whatif import filters
from recovery.replay.whatif.filters import (
    Equal,
    Filter,
    children,
    conditions,
    equated,
    filter_of,
    last_name,
    reference,
    references,
)
from recovery.replay.whatif.relations import ALL, EXISTENCE, Op, Relation, Relations

_SEQUENCE = frozenset({"currval", "lastval", "setval", "pg_sequence_last_value"})
_ORDERED = frozenset(
    {
        *("array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "xmlagg"),
        *("jsonb_object_agg", "range_agg", "mode"),
    }
)
_SUMS = frozenset({"sum", "avg", "variance", "var_pop", "var_samp", "stddev", "stddev_pop"})
_AGGREGATES = _SUMS | {"count", "min", "max", "bool_and", "bool_or", "every"}
_UNTOLD = (
    *("txid_", "pg_current_", "pg_stat", "lo_", "query_to_", "table_to_", "schema_to_"),
    *("database_to_", "cursor_to_", "pg_logical_", "dblink", "pg_snapshot", "pg_relation_"),
    *("pg_total_", "pg_table_", "pg_notify", "set_config", "pg_advisory", "pg_try_"),
)
_HIDDEN = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax"})

Ops = tuple[tuple[Op, frozenset[str] | None], ...]
_ANY: Ops = (("insert", None), ("update", None), ("delete", None))


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A table named in a statement, under the name by which its columns are called."""

    table: int
    name: str
    filter: Filter
    ops: Ops = ()  # what the statement does to it; nothing where it only reads
    single: bool = False  # at most one row, or rows in an order of their own
    constants: tuple[Equal, ...] = ()  # columns that an INSERT gives constants
    where: ast.Node | None = None  # where it stands alone: all that decides which rows


class Scope:
    """`opaque`: it holds what is not understood. `shuffled`: its outcome depends on the order in
    which rows lie. `session`: it asks the session about numbers. `joined`: columns are compared
    without being named."""

    def __init__(self, relations: Relations, statement: ast.Node) -> None:
        self.relations = relations
        self.occurrences: list[Occurrence] = []
        self.functions: list[str] = []
        self.views: list[str] = []
        self.opaque = self.shuffled = self.session = self.joined = False
        self._aggregates: set[str] = set()
        self._ctes: set[str] = set()
        self._refs: set[tuple[str, ...]] = set()
        self._walk(statement)
        self._judge()

    def mask(self, place: Occurrence, within: ast.Node | None = None) -> int:
        """Columns that the statement, or a part of it, may mean of this table."""
        if self.joined:
            return ALL
        relation = self.relations.tables[place.table]
        refs = self._refs if within is None else set(references(within))
        mask = EXISTENCE
        for ref in refs:
            mask |= _meant(relation, place.name, ref)
            if mask == ALL:
                break
        return mask

    def _walk(self, message: ast.Node) -> None:
        match message:
            case ast.SelectStmt():
                self._select(message)
                return
            case ast.InsertStmt():
                self._insert(message)
                return
            case ast.UpdateStmt():
                names = frozenset(one.res_target.name for one in message.target_list)
                self._change(message, (("update", names),), len(message.from_clause) > 0)
                return
            case ast.DeleteStmt():
                self._change(message, (("delete", None),), len(message.using_clause) > 0)
                return
            case ast.MergeStmt():
                self._walk_with(message)
                self._table(message.relation, ops=_ANY)
                self.joined = True
                self._walk_but(message, "relation", "with_clause")
                return
            case ast.RangeVar():
                self._table(message)
                return
            case ast.ColumnRef():
                self._refs.add(reference(message))
                return
            case ast.FuncCall():
                self._call(message)
            case ast.JoinExpr():
                self.joined |= bool(message.is_natural or message.using_clause)
            case ast.RangeTableSample() | ast.CurrentOfExpr():
                self.shuffled = True
            case _:
                pass
        self._walk_but(message)

    def _walk_with(self, message: ast.Node) -> None:
        """Names of common tables are known before what uses them."""
        if message.HasField("with_clause"):
            for one in message.with_clause.ctes:
                self._ctes.add(one.common_table_expr.ctename)
            self._walk(message.with_clause)

    def _walk_but(self, message: ast.Node, *names: str) -> None:
        for name, value in children(message):
            if name not in names:
                self._walk(value)

    # --- the parts --------------------------------------------------------------------------------

    def _select(self, select: ast.SelectStmt) -> None:
        self._walk_with(select)
        self._walk_but(select, "with_clause", "from_clause")
        alone = _only(list(select.from_clause))
        if alone is None:
            for one in select.from_clause:
                self._walk(one)
        else:
            self._table(alone, where=select.where_clause)
        found = self.occurrences[-1] if alone is not None and self.occurrences else None
        if select.HasField("limit_count") or select.HasField("limit_offset"):
            self.shuffled |= not self._sorted(select, found)
        if any(one.ByteSize() for one in select.distinct_clause):
            self.shuffled = True
        if select.HasField("into_clause"):
            self.shuffled |= not self._alone(select, found)

    def _sorted(self, select: ast.SelectStmt, place: Occurrence | None) -> bool:
        if place is None:
            return False
        relation = self.relations.tables[place.table]
        names = {
            reference(one.sort_by.node.column_ref)[-1]
            for one in select.sort_clause
            if one.sort_by.node.WhichOneof("node") == "column_ref"
        }
        return relation.keyed and {relation.columns[n].name for n in relation.key} <= names

    def one_row(self, select: ast.SelectStmt) -> bool:
        """Whether this, the whole statement, has one row at most."""
        named = _only(list(select.from_clause))
        name = "" if named is None else named.alias.aliasname or named.relname
        fits = [one for one in self.occurrences if one.name == name and not one.ops]
        return self._alone(select, fits[-1] if fits else None)

    def _alone(self, select: ast.SelectStmt, place: Occurrence | None) -> bool:
        if not select.group_clause and any(
            one.res_target.val.WhichOneof("node") == "func_call"
            and last_name(one.res_target.val.func_call) in _AGGREGATES
            for one in select.target_list
        ):
            return True
        if not select.from_clause:
            return True
        if place is None:
            return False
        return self._at_key(place, select.where_clause)

    def _at_key(self, place: Occurrence, where: ast.Node) -> bool:
        """Whether a condition names the whole key of one row."""
        relation = self.relations.tables[place.table]
        named = set()
        for condition in conditions(where):
            for side in equated(condition) or ():
                if side.WhichOneof("node") == "column_ref":
                    names = reference(side.column_ref)
                    if len(names) == 1 or names[0] == place.name:
                        named.add(names[-1])
        return relation.keyed and {relation.columns[n].name for n in relation.key} <= named

    def _insert(self, insert: ast.InsertStmt) -> None:
        self._walk_with(insert)
        self._walk_but(insert, "relation", "cols", "with_clause", "on_conflict_clause")
        if insert.HasField("on_conflict_clause"):
            self._walk(insert.on_conflict_clause)
        listed = insert.select_stmt.select_stmt.values_lists
        single = len(listed) > 0 or insert.select_stmt.WhichOneof("node") is None
        single |= _ordered(insert)
        ops: Ops = (("insert", None),)
        match insert.on_conflict_clause.action:
            case ast.ONCONFLICT_UPDATE:
                names = frozenset(
                    one.res_target.name for one in insert.on_conflict_clause.target_list
                )
                ops = (*ops, ("update", names))
            case ast.ONCONFLICT_NOTHING:
                ops = (*ops, ("update", frozenset()))
            case _:
                pass
        self._table(insert.relation, ops=ops, single=single, insert=insert)

    def _change(self, change: ast.UpdateStmt | ast.DeleteStmt, ops: Ops, joined: bool) -> None:
        self._walk_with(change)
        self._walk_but(change, "relation", "with_clause")
        if joined and isinstance(change, ast.UpdateStmt):
            self.shuffled |= self._takes_one(change)
        self._table(change.relation, ops=ops, where=change.where_clause)

    def _takes_one(self, update: ast.UpdateStmt) -> bool:
        """Whether it may take something from one of several rows that fit."""
        name = update.relation.alias.aliasname or update.relation.relname
        taken = [ref for one in update.target_list for ref in references(one.res_target.val)]
        if all(len(ref) == 2 and ref[0] == name for ref in taken):
            return False
        first = _only(list(update.from_clause))
        if first is not None:
            called = first.alias.aliasname or first.relname
            places = [one for one in self.occurrences if one.name == called and not one.ops]
            return len(places) != 1 or not self._at_key(places[0], update.where_clause)
        return not _grouped(list(update.from_clause), update.where_clause)

    def _table(
        self,
        named: ast.RangeVar,
        *,
        ops: Ops = (),
        where: ast.Node | None = None,
        single: bool = False,
        insert: ast.InsertStmt | None = None,
    ) -> None:
        name = named.alias.aliasname or named.relname
        number = self.relations.number(named.schemaname, named.relname)
        if not named.schemaname and named.relname in self._ctes and not ops:
            if number is not None:  # the real one may be meant as well
                self.occurrences.append(Occurrence(number, name, filters.NONE))
            return
        if number is None:
            text = self.relations.view(named.schemaname, named.relname)
            if text is None or ops:
                self.opaque = True
            else:
                self.views.append(text)
            return
        relation = self.relations.tables[number]
        found = filters.NONE if where is None else filter_of(where, relation, name)
        constants = () if insert is None else _constants(insert, relation)
        place = Occurrence(number, name, found, ops, single, constants, where)
        if ops and where is not None and self._at_key(place, where):
            place = Occurrence(number, name, found, ops, True, constants, where)
        self.occurrences.append(place)

    def _call(self, call: ast.FuncCall) -> None:
        name = last_name(call)
        self.functions.append(name)
        if name not in self.relations.by_name and name.startswith(_UNTOLD):
            self.opaque = True
        self.session |= name in _SEQUENCE
        self.shuffled |= call.HasField("over") or (name in _ORDERED and not _sorts(call))
        self._aggregates.add(name)

    def _judge(self) -> None:
        """What can be said once all names are known."""
        self.shuffled |= any(ref[-1] in _HIDDEN for ref in self._refs)
        for ref in self._refs:  # a function can be called like a column
            if ref[-1] in self.relations.by_name:
                self.functions.append(ref[-1])
        floats = any(
            column.family == "float"
            for place in self.occurrences
            for column in self.relations.tables[place.table].columns
        )
        self.shuffled |= bool(self._aggregates & _SUMS) and floats


def _only(clause: list[ast.Node]) -> ast.RangeVar | None:
    if len(clause) == 1 and clause[0].WhichOneof("node") == "range_var":
        return clause[0].range_var
    return None


def _sorts(call: ast.FuncCall) -> bool:
    """Whether an aggregate puts its values in their own order."""
    if len(call.agg_order) != 1 or not call.args:
        return False
    by, what = call.agg_order[0].sort_by.node, call.args[0]
    both = (by.WhichOneof("node"), what.WhichOneof("node")) == ("column_ref", "column_ref")
    return both and reference(by.column_ref) == reference(what.column_ref)


def _ordered(insert: ast.InsertStmt) -> bool:
    """Whether the rows of an INSERT ... SELECT come in an order of all their columns."""
    by = {
        one.sort_by.node.a_const.ival.ival
        for one in insert.select_stmt.select_stmt.sort_clause
        if one.sort_by.node.WhichOneof("node") == "a_const"
    }
    return len(insert.cols) > 0 and by >= set(range(1, len(insert.cols) + 1))


def _grouped(clause: list[ast.Node], where: ast.Node) -> bool:
    """Whether a FROM is one subquery of which a condition names the whole group of one row."""
    if len(clause) != 1 or clause[0].WhichOneof("node") != "range_subselect":
        return False
    held = clause[0].range_subselect
    select = held.subquery.select_stmt
    groups = [
        reference(one.column_ref)
        for one in select.group_clause
        if one.WhichOneof("node") == "column_ref"
    ]
    if not groups or len(groups) != len(select.group_clause):
        return False
    names = {
        reference(one.res_target.val.column_ref): one.res_target.name
        for one in select.target_list
        if one.res_target.val.WhichOneof("node") == "column_ref"
    }
    named = {
        reference(side.column_ref)[-1]
        for condition in conditions(where)
        for side in equated(condition) or ()
        if side.WhichOneof("node") == "column_ref"
        and reference(side.column_ref)[0] == held.alias.aliasname
    }
    return all(names.get(one) in named for one in groups)


def _meant(relation: Relation, name: str, ref: tuple[str, ...]) -> int:
    if len(ref) == 1:
        if ref[0] in ("*", name):
            return ALL
        return relation.bit(ref[0]) if ref[0] in relation.places else 0
    if ref[-2] not in (name, relation.table.relation):
        return 0
    if ref[-1] == "*":
        return ALL
    return relation.bit(ref[-1]) if ref[-1] in relation.places else 0


def _constants(insert: ast.InsertStmt, relation: Relation) -> tuple[Equal, ...]:
    """Columns that get a constant in every row of VALUES."""
    rows = insert.select_stmt.select_stmt.values_lists
    columns = [one.res_target.name for one in insert.cols] or [
        column.name for column in relation.columns
    ]
    found: list[Equal] = []
    for position, column in enumerate(columns):
        place = relation.places.get(column)
        if place is None:
            continue
        texts = [
            filters.constant(row.list.items[position], relation.columns[place])
            for row in rows
            if position < len(row.list.items)
        ]
        known = tuple(one for one in texts if one is not None)
        if rows and len(known) == len(rows):
            found.append((place, known))
    return tuple(found)
