"""What a statement of the step log aims at, and how it could have been run differently.

Read and rewritten with the server's own grammar; a statement that is no plain INSERT, UPDATE or
DELETE at its top is left alone: no edit is proposed for it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import postgast
from postgast import pg_query_pb2 as ast
from psycopg import sql

from diffing.model import Schema, qualified

REMEMBERED = 10_000  # statements: every class of faults asks about each of them, in every round


_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Target:
    op: Literal["insert", "update", "delete"]
    table: str
    columns: frozenset[str]  # of an update: the columns it sets; otherwise empty


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant in what an UPDATE sets: the `place`-th of the statement."""

    place: int
    text: str
    number: bool


def targets(text: str, schema: Schema) -> tuple[Target, ...]:
    """Tables that the statement names as written; those it reaches by triggers are not named."""
    found = [_target(one, schema) for one in _aimed(text)]
    return tuple(target for target in found if target is not None)


@dataclass(frozen=True, slots=True)
class _Aimed:
    """A target as it is written: `schema` '' where the statement names none."""

    op: Literal["insert", "update", "delete"]
    schema: str
    relation: str
    columns: frozenset[str] = frozenset()


@lru_cache(maxsize=REMEMBERED)
def _aimed(text: str) -> tuple[_Aimed, ...]:
    found: list[_Aimed] = []
    tree = postgast.parse(text)
    for update in postgast.find_nodes(tree, ast.UpdateStmt):
        columns = frozenset(node.res_target.name for node in update.target_list)
        named = update.relation
        found.append(_Aimed("update", named.schemaname, named.relname, columns))
    for insert in postgast.find_nodes(tree, ast.InsertStmt):
        named = insert.relation
        found.append(_Aimed("insert", named.schemaname, named.relname))
        if insert.on_conflict_clause.action == ast.ONCONFLICT_UPDATE:
            listed = insert.on_conflict_clause.target_list
            columns = frozenset(node.res_target.name for node in listed)
            found.append(_Aimed("update", named.schemaname, named.relname, columns))
    for delete in postgast.find_nodes(tree, ast.DeleteStmt):
        named = delete.relation
        found.append(_Aimed("delete", named.schemaname, named.relname))
    return tuple(found)


def without_where(text: str) -> str | None:
    """The statement as it runs when its whole WHERE is missing."""
    tree = postgast.parse(text)
    statement = changing(tree)
    if statement is None or not statement.HasField("where_clause"):
        return None
    statement.ClearField("where_clause")
    return postgast.deparse(tree)


def without_each_condition(text: str) -> Iterator[tuple[str, str]]:
    """(the condition, the statement without it) for every AND-ed condition of its WHERE."""
    statement = changing(postgast.parse(text))
    if statement is None or statement.where_clause.WhichOneof("node") != "bool_expr":
        return
    if statement.where_clause.bool_expr.boolop != ast.AND_EXPR:
        return
    for place in range(len(statement.where_clause.bool_expr.args)):
        tree = postgast.parse(text)
        changed = changing(tree)
        assert changed is not None
        conditions = changed.where_clause.bool_expr.args
        dropped = expression_text(conditions[place])
        del conditions[place]
        if len(conditions) == 1:
            last = ast.Node()
            last.CopyFrom(conditions[0])
            changed.where_clause.CopyFrom(last)
        yield dropped, postgast.deparse(tree)


def returning(text: str, columns: tuple[str, ...]) -> str:
    """The UPDATE or DELETE, telling these columns of the rows it writes, each as text."""
    tree = postgast.parse(text)
    statement = changing(tree)
    assert statement is not None
    statement.ClearField("returning_clause")
    name = statement.relation.alias.aliasname or statement.relation.relname
    shown = sql.SQL(", ").join(
        sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(
            sql.Identifier(name, column)
        )
        for column in columns
    )
    return f"{postgast.deparse(tree)} RETURNING {shown.as_string(None)}"


def constants(text: str) -> tuple[Constant, ...]:
    """Constants in what an UPDATE sets, in order. Booleans and NULL are not among them: they
    tell too little."""
    return tuple(
        Constant(place, shown, node.WhichOneof("val") in ("ival", "fval"))
        for place, node in enumerate(_set_constants(postgast.parse(text)))
        if (shown := _constant_text(node)) is not None
    )


def with_constant(text: str, constant: Constant, value: str) -> str:
    """The statement with another value in the place of `constant`."""
    tree = postgast.parse(text)
    node = _set_constants(tree)[constant.place]
    if constant.number:
        node.ClearField("ival")
        node.fval.fval = value
    else:
        node.sval.sval = value
    return postgast.deparse(tree)


def with_every(text: str, old: str, new: str) -> str | None:
    """The statement with `new` wherever the constant `old` stands, as a value and never as SQL.
    None where it does not stand, or is a number and the other is none."""
    tree = postgast.parse(text)
    found = [one for one in postgast.find_nodes(tree, ast.A_Const) if _constant_text(one) == old]
    for node in found:
        if node.WhichOneof("val") == "sval":
            node.sval.sval = new
        elif _NUMBER.fullmatch(new):
            node.ClearField("ival")
            node.fval.fval = new
        else:
            return None
    return postgast.deparse(tree) if found else None


def changing(tree: ast.ParseResult) -> ast.UpdateStmt | ast.DeleteStmt | None:
    node = tree.stmts[0].stmt
    match node.WhichOneof("node"):
        case "update_stmt":
            return node.update_stmt
        case "delete_stmt":
            return node.delete_stmt
        case _:
            return None


def _set_constants(tree: ast.ParseResult) -> list[ast.A_Const]:
    statement = changing(tree)
    if not isinstance(statement, ast.UpdateStmt):
        return []
    return [
        constant
        for target in statement.target_list
        # (a, b) = (1, 'x') stands in the tree once for each column; the first one is what is run.
        if target.res_target.val.multi_assign_ref.colno <= 1
        for constant in postgast.find_nodes(target, ast.A_Const)
    ]


def _constant_text(node: ast.A_Const) -> str | None:
    match node.WhichOneof("val"):
        case "ival":
            return str(node.ival.ival)
        case "fval":
            return str(node.fval.fval)
        case "sval":
            return str(node.sval.sval)
        case _:
            return None


def expression_text(condition: ast.Node) -> str:
    tree = ast.ParseResult()
    tree.CopyFrom(_bare())
    tree.stmts[0].stmt.select_stmt.where_clause.CopyFrom(condition)
    return postgast.deparse(tree).split(" WHERE ", 1)[1]


@cache
def _bare() -> ast.ParseResult:
    return postgast.parse("SELECT 1 WHERE true")


def _target(aimed: _Aimed, schema: Schema) -> Target | None:
    if aimed.schema:
        name = qualified(aimed.schema, aimed.relation)
        return Target(aimed.op, name, aimed.columns) if schema.has(name) else None
    named = [table for table in schema.tables if table.relation == aimed.relation]
    first = min(named, key=lambda table: (table.schema != "public", table.schema), default=None)
    return Target(aimed.op, first.name, aimed.columns) if first is not None else None


def injective_columns(text: str) -> frozenset[str]:
    """Columns that an UPDATE sets to a straight line of their own former value: built with
    + - * / from the column, once, and numbers. Rounding is not judged here: trials do."""
    statement = changing(postgast.parse(text))
    if not isinstance(statement, ast.UpdateStmt):
        return frozenset()
    table = statement.relation.alias.aliasname or statement.relation.relname
    return frozenset(
        node.res_target.name
        for node in statement.target_list
        if _line_in(node.res_target.val, table, node.res_target.name) == 1
    )


def _line_in(node: ast.Node, table: str, column: str) -> int:
    """How often the table's `column` occurs in a line expression; a large number if it is none."""
    never = 1000
    match node.WhichOneof("node"):
        case "column_ref":
            names = [field.string.sval for field in node.column_ref.fields]
            return 1 if names in ([column], [table, column]) else never
        case "a_const":
            return 0 if node.a_const.WhichOneof("val") in ("ival", "fval") else never
        case "type_cast":
            return _line_in(node.type_cast.arg, table, column)
        case "func_call" if node.func_call.funcname[-1].string.sval == "round":
            return _line_in(node.func_call.args[0], table, column)
        case "a_expr" if node.a_expr.HasField("lexpr"):
            operator = node.a_expr.name[-1].string.sval
            left = _line_in(node.a_expr.lexpr, table, column)
            right = _line_in(node.a_expr.rexpr, table, column)
            divides = operator == "/" and right > 0
            return never if operator not in "+-*/" or divides else left + right
        case _:
            return never
