"""What a statement goes through and sets, and at what else it could have been aimed: other columns,
another table, fewer rows. Read and rewritten with the server's own grammar.
"""

from functools import lru_cache

import postgast
from postgast import pg_query_pb2 as ast

from recovery.localize.statement import REMEMBERED, changing, expression_text, injective_columns


@lru_cache(maxsize=REMEMBERED)
def select_like(text: str, shown: str, where: str) -> str:
    """A SELECT of these expressions over the rows that the UPDATE or DELETE would go through,
    under this condition."""
    source = changing(postgast.parse(text))
    assert source is not None
    tree = postgast.parse(f"SELECT {shown} WHERE {where}")
    select = tree.stmts[0].stmt.select_stmt
    relation = ast.Node()
    relation.range_var.CopyFrom(source.relation)
    select.from_clause.append(relation)
    joined = source.from_clause if isinstance(source, ast.UpdateStmt) else source.using_clause
    select.from_clause.extend(joined)
    if source.HasField("with_clause"):
        select.with_clause.CopyFrom(source.with_clause)
    return postgast.deparse(tree)


@lru_cache(maxsize=REMEMBERED)
def alias(text: str) -> str:
    """How the statement calls the table that it changes."""
    statement = changing(postgast.parse(text))
    assert statement is not None
    return str(statement.relation.alias.aliasname or statement.relation.relname)


def joins(text: str) -> bool:
    """Does the statement name other tables beside the one that it changes?"""
    statement = changing(postgast.parse(text))
    if isinstance(statement, ast.UpdateStmt):
        return len(statement.from_clause) > 0
    return isinstance(statement, ast.DeleteStmt) and len(statement.using_clause) > 0


def first_rows(text: str, count: int) -> str | None:
    """An INSERT of listed rows with only the first ones; None for anything else."""
    tree = postgast.parse(text)
    node = tree.stmts[0].stmt
    if node.WhichOneof("node") != "insert_stmt":
        return None
    listed = node.insert_stmt.select_stmt.select_stmt.values_lists
    if not 0 < count < len(listed):
        return None
    del listed[count:]
    return postgast.deparse(tree)


def with_column(text: str, column: str, other: str, *, throughout: bool) -> str:
    """The UPDATE setting another column; `throughout`: and reading that one as well in what it
    sets the column to."""
    tree = postgast.parse(text)
    statement = changing(tree)
    assert isinstance(statement, ast.UpdateStmt)
    for target in statement.target_list:
        if target.res_target.name == column:
            target.res_target.name = other
            if throughout:
                for reference in postgast.find_nodes(target, ast.ColumnRef):
                    last = reference.fields[-1]
                    if last.string.sval == column:
                        last.string.sval = other
    return postgast.deparse(tree)


def with_table(text: str, schema: str, relation: str) -> str:
    """The statement aimed at another table, which it goes on calling as before where it says the
    name."""
    tree = postgast.parse(text)
    node = tree.stmts[0].stmt
    aimed = getattr(node, str(node.WhichOneof("node"))).relation
    called = aimed.alias.aliasname or aimed.relname
    named = any(
        len(reference.fields) > 1 and reference.fields[0].string.sval == called
        for reference in postgast.find_nodes(tree, ast.ColumnRef)
    )
    aimed.schemaname, aimed.relname = schema, relation
    if named and not aimed.alias.aliasname:
        aimed.alias.aliasname = called
    return postgast.deparse(tree)


def columns_named(text: str) -> frozenset[str]:
    """Columns that the statement names, of whatever table; '*' for all of them. An INSERT names
    all where it lists none."""
    tree = postgast.parse(text)
    names = set()
    for reference in postgast.find_nodes(tree, ast.ColumnRef):
        last = reference.fields[-1]
        names.add(str(last.string.sval) if last.WhichOneof("node") == "string" else "*")
    statement = tree.stmts[0].stmt
    if statement.WhichOneof("node") == "insert_stmt":
        listed = {str(one.res_target.name) for one in statement.insert_stmt.cols}
        names |= listed or {"*"}
    elif statement.WhichOneof("node") == "update_stmt":
        names |= {str(one.res_target.name) for one in statement.update_stmt.target_list}
    return frozenset(names)


@lru_cache(maxsize=REMEMBERED)
def set_expressions(text: str) -> tuple[tuple[str, str], ...]:
    """(column, expression) of what an UPDATE sets. Columns that get their default, or a part of a
    sub-select's row, are not among them."""
    statement = changing(postgast.parse(text))
    if not isinstance(statement, ast.UpdateStmt):
        return ()
    found = []
    for target in statement.target_list:
        value = target.res_target.val
        if value.WhichOneof("node") == "multi_assign_ref":
            row = value.multi_assign_ref.source
            if row.WhichOneof("node") != "row_expr":
                continue
            value = row.row_expr.args[value.multi_assign_ref.colno - 1]
        if value.WhichOneof("node") != "set_to_default" and not target.res_target.indirection:
            found.append((target.res_target.name, expression_text(value)))
    return tuple(found)


def faithful_columns(text: str) -> frozenset[str]:
    """Columns that the UPDATE maps one to one, or sets to the same whatever was there: of those
    that it leaves alone nothing else could be what was there before, and a trial shows which of
    those that it writes are told apart."""
    same = {
        name
        for name, expression in set_expressions(text)
        if not list(postgast.find_nodes(postgast.parse(f"SELECT {expression}"), ast.ColumnRef))
    }
    return injective_columns(text) | same
