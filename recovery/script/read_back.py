"""What was rendered is read again by PostgreSQL's own parser, and must be what was planned: these
kinds of statements on these tables, each write with its guard and its count, every staged value
the planned text. Anything else is our bug, found before anybody sees the script.
"""

import re
from collections.abc import Iterator

import duckdb
import postgast
from postgast import pg_query_pb2 as tree

from diffing.model import Schema
from recovery.model import EngineError, Exit
from recovery.script.body import locked
from recovery.script.context import ScriptContext
from recovery.script.staged import Write, rows_of
from recovery.script.triggers import planned_off, spans

_WRITES = {"set-cells": "update_stmt", "insert-rows": "insert_stmt", "delete-rows": "delete_stmt"}
_DOLLAR = re.compile(r"DO (\$dbmend\d*\$)\n(.*)\1;?\s*\Z", re.DOTALL)


def read_back(
    body: str,
    writes: tuple[Write, ...],
    facts: duckdb.DuckDBPyConnection,
    schema: Schema,
    context: ScriptContext,
    *,
    undo: bool,
) -> None:
    """Raises EngineError(BUG) unless the body is exactly what the writes ask for."""
    statements = postgast.split(body, method="parser")
    kinds = []
    staged = {write.relation: _planned_cells(write, facts, context) for write in writes}
    for statement in statements:
        node = _parsed(statement)
        kind = str(node.WhichOneof("node"))
        kinds.append(kind)
        if kind == "insert_stmt":
            _check_staging(node.insert_stmt, staged)
        elif kind == "create_stmt":
            _expect(node.create_stmt.relation.schemaname == "pg_temp", "a table outside pg_temp")
        elif kind == "variable_set_stmt":
            _expect(node.variable_set_stmt.is_local, "a setting that outlives the transaction")
        elif kind == "vacuum_stmt":
            _expect(not node.vacuum_stmt.is_vacuumcmd, "VACUUM")
    for relation, cells in staged.items():
        _expect(next(cells, None) is None, "staged rows of " + relation + " are missing")
    _check_order(kinds)
    _Block(writes, schema, context, undo=undo).check(statements[-2])


def _check_order(kinds: list[str]) -> None:
    _expect(kinds[0] == kinds[-1] == "transaction_stmt", "no transaction around the script")
    _expect(
        [at for at, kind in enumerate(kinds) if kind == "do_stmt"][1:] == [len(kinds) - 2],
        "the DO block is not last",
    )
    strange = set(kinds[1:-1]) - {
        "variable_set_stmt",
        "do_stmt",
        "create_stmt",
        "insert_stmt",
        "vacuum_stmt",
    }
    _expect(not strange, "unplanned statements: " + ", ".join(sorted(strange)))


def _planned_cells(
    write: Write, facts: duckdb.DuckDBPyConnection, context: ScriptContext
) -> Iterator[tuple[str | None, ...]]:
    for row in rows_of(write, facts, context.landmarks):
        seen = row.seen if write.op != "insert-rows" else ()
        target = row.target if write.op != "delete-rows" else ()
        yield (*row.key, *seen, *target)


def _check_staging(
    insert: tree.InsertStmt, staged: dict[str, Iterator[tuple[str | None, ...]]]
) -> None:
    _expect(insert.relation.schemaname == "pg_temp", "a write outside of the DO block")
    if insert.relation.relname not in staged:
        return  # a sample of untouched rows
    planned = staged[insert.relation.relname]
    for line in insert.select_stmt.select_stmt.values_lists:
        items = list(line.list.items)[1:]  # without the row's number
        found = tuple(_constant(item) for item in items if not _is_flag(item))
        _expect(found == next(planned, None), "a staged value differs from the plan")


def _is_flag(item: tree.Node) -> bool:
    return str(item.a_const.WhichOneof("val")) == "boolval"


def _constant(item: tree.Node) -> str | None:
    _expect(item.WhichOneof("node") == "a_const", "a staged value is no constant")
    if item.a_const.isnull:
        return None
    _expect(item.a_const.WhichOneof("val") == "sval", "a staged value is no text")
    return str(item.a_const.sval.sval)


class _Block:
    """The statements of the DO block against the plan."""

    def __init__(
        self, writes: tuple[Write, ...], schema: Schema, context: ScriptContext, *, undo: bool
    ) -> None:
        # A write whose unique values change places comes in two statements: park, then set.
        self._writes = [
            (write, columns)
            for write in writes
            for columns in ([write.parked] if write.parked else [])
            + [tuple(column.name for column in write.columns)]
        ]
        self._locks = [(table.schema, table.relation) for table in locked(writes, schema)]
        off = (
            planned_off(writes)
            if spans(writes, schema)
            else tuple(found for write in writes for found in planned_off((write,)))
        )
        self._off = [(table.schema, table.relation, name) for table, name in off]
        self._on = [place for place in self._off for _ in range(3)]
        self._saved = context.saved_schema if context.keep_saved and not undo else None

    def check(self, statement: str) -> None:
        found = _DOLLAR.match(statement.strip())
        _expect(found is not None, "no DO block")
        assert found is not None
        function = (
            "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS "
            + found.group(1)
            + found.group(2)
            + found.group(1)
        )
        try:
            parsed = postgast.parse_plpgsql(function)
        except postgast.PgQueryError as error:
            raise _bug("the DO block does not parse: " + str(error)) from error
        for query, counted in _queries(parsed):
            self._statement(_parsed(query), counted=counted)
        left = [write.group for write, _ in self._writes]
        _expect(not left, "not written: " + ", ".join(left))
        _expect(not self._locks, "tables that are not locked")
        _expect(not self._off and not self._on, "triggers that are not switched")

    def _statement(self, node: tree.Node, *, counted: bool) -> None:
        kind = str(node.WhichOneof("node"))
        if kind in ("update_stmt", "insert_stmt", "delete_stmt"):
            relation = getattr(node, kind).relation
            if relation.schemaname != "pg_temp":
                _expect(bool(self._writes), "an unplanned write")
                _check_write(*self._writes.pop(0), kind, node, counted=counted)
        elif kind == "alter_table_stmt":
            self._trigger(node.alter_table_stmt)
        elif kind == "lock_stmt":
            relation = node.lock_stmt.relations[0].range_var
            _expect(self._locks.pop(0) == (relation.schemaname, relation.relname), "locks")
        elif kind == "create_schema_stmt":
            _expect(node.create_schema_stmt.schemaname == self._saved, "an unplanned schema")
        elif kind == "create_table_as_stmt":
            _expect(node.create_table_as_stmt.into.rel.schemaname == self._saved, "a table")
        else:
            _expect(kind in ("select_stmt", "constraints_set_stmt"), "unplanned " + kind)

    def _trigger(self, alter: tree.AlterTableStmt) -> None:
        command = alter.cmds[0].alter_table_cmd
        place = (alter.relation.schemaname, alter.relation.relname, command.name)
        enabling = (tree.AT_EnableTrig, tree.AT_EnableAlwaysTrig, tree.AT_EnableReplicaTrig)
        planned = self._on if command.subtype in enabling else self._off
        _expect(
            len(alter.cmds) == 1
            and command.subtype in (tree.AT_DisableTrig, *enabling)
            and place in planned,
            "an unplanned change of a table",
        )
        planned.remove(place)


def _check_write(
    write: Write, columns: tuple[str, ...], kind: str, node: tree.Node, *, counted: bool
) -> None:
    place = write.group
    statement = getattr(node, kind)
    _expect(kind == _WRITES[write.op], place + ": another kind of write")
    relation = (statement.relation.schemaname, statement.relation.relname)
    _expect(relation == (write.table.schema, write.table.relation), place + ": another table")
    _expect(counted, place + ": the rows are not counted")
    sources = {
        found.relname
        for found in postgast.find_nodes(node, tree.RangeVar)
        if found.schemaname == "pg_temp"
    }
    _expect(sources == {write.relation}, place + ": written from elsewhere")
    if write.op == "set-cells":
        written = tuple(target.res_target.name for target in statement.target_list)
        _expect(written == columns, place + ": other columns")
    if write.op == "insert-rows":
        written = tuple(target.res_target.name for target in statement.cols)
        _expect(written == columns, place + ": other columns")
        guarded = bool(list(postgast.find_nodes(node, tree.SubLink))) or not write.keyed
    else:
        same = [
            found
            for found in postgast.find_nodes(node, tree.A_Expr)
            if found.kind == tree.AEXPR_NOT_DISTINCT
        ]
        guarded = len(same) >= len(write.columns)
    _expect(guarded, place + ": no guard")


def _queries(parsed: object) -> Iterator[tuple[str, bool]]:
    """Every statement of a PL/pgSQL tree, and whether its row count is taken right after it."""
    if isinstance(parsed, dict):
        for value in parsed.values():
            yield from _queries(value)
    if isinstance(parsed, list):
        for at, item in enumerate(parsed):
            query = _query(item)
            if query is None:
                yield from _queries(item)
            else:
                following = parsed[at + 1] if at + 1 < len(parsed) else {}
                yield query, "PLpgSQL_stmt_getdiag" in following


def _query(item: object) -> str | None:
    if not isinstance(item, dict):
        return None
    _expect(not {"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"} & item.keys(), "dynamic SQL")
    for kind, expression in (("PLpgSQL_stmt_execsql", "sqlstmt"), ("PLpgSQL_stmt_perform", "expr")):
        if kind in item:
            return str(item[kind][expression]["PLpgSQL_expr"]["query"])
    return None


def _parsed(statement: str) -> tree.Node:
    try:
        statements = postgast.parse(statement).stmts
    except postgast.PgQueryError as error:
        raise _bug("a statement does not parse: " + str(error)) from error
    _expect(len(statements) == 1, "one statement became several")
    return statements[0].stmt


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise _bug(what)


def _bug(what: str) -> EngineError:
    return EngineError(
        Exit.BUG,
        "the rendered script is not what was planned: " + what,
        hint="Nothing was written. Please report this.",
    )
