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
                self._table(message.relation, ops=_ANY)
                self.joined = self.shuffled = True
                self._walk_but(message, "relation")
                return
            case ast.RangeVar():
                self._table(message)
                return
            case ast.ColumnRef():
                self._refs.add(reference(message))
                return
            case ast.CommonTableExpr():
                self._ctes.add(message.ctename)
            case ast.FuncCall():
                self._call(message)
            case ast.JoinExpr():
                self.joined |= bool(message.is_natural or message.using_clause)
            case ast.RangeTableSample() | ast.CurrentOfExpr():
                self.shuffled = True
            case _:
                pass
        self._walk_but(message)

    def _walk_but(self, message: ast.Node, *names: str) -> None:
        for name, value in children(message):
            if name not in names:
                self._walk(value)

    # --- the parts --------------------------------------------------------------------------------

    def _select(self, select: ast.SelectStmt) -> None:
        self._walk_but(select, "with_clause", "from_clause")
        if select.HasField("with_clause"):
            self._walk(select.with_clause)
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
        self._walk_but(insert, "relation", "cols", "with_clause", "on_conflict_clause")
        if insert.HasField("with_clause"):
            self._walk(insert.with_clause)
        if insert.HasField("on_conflict_clause"):
            self._walk(insert.on_conflict_clause)
        listed = insert.select_stmt.select_stmt.values_lists
        single = len(listed) > 0 or insert.select_stmt.WhichOneof("node") is None
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
        self._walk_but(change, "relation", "with_clause")
        if change.HasField("with_clause"):
            self._walk(change.with_clause)
        others = len(self.occurrences)
        self._table(change.relation, ops=ops, where=change.where_clause)
        if joined and isinstance(change, ast.UpdateStmt):
            # Of several rows that fit, the server takes one.
            first = _only(list(change.from_clause))
            place = self.occurrences[others - 1] if first is not None and others else None
            self.shuffled |= place is None or not self._at_key(place, change.where_clause)

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
        self.shuffled |= name in _ORDERED or call.HasField("over")
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
