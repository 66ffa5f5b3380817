"""Conditions of a statement's WHERE, and how each could have been another.

Read and rewritten with the server's own grammar. A condition is a leaf of the tree of AND, OR and
NOT; it decides about a row where the row would be taken with it and not without it, or the other
way round.
"""

from collections.abc import Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import postgast
from postgast import pg_query_pb2 as ast

from recovery.localize.statement import REMEMBERED, changing, expression_text

Kind = Literal["compare", "between", "list", "like", "other"]
Operator = Literal["<", "<=", "=", "<>", ">=", ">"]
OPERATORS: tuple[Operator, ...] = ("<", "<=", "=", "<>", ">=", ">")
_FLIPPED: dict[str, Operator] = {"<": ">", "<=": ">=", "=": "=", "<>": "<>", ">=": "<=", ">": "<"}


@dataclass(frozen=True, slots=True)
class Condition:
    """The `place`-th condition of a WHERE. `left` is what is compared, `column` its name when it is
    a column and nothing more; `constants` are the texts it is compared with."""

    place: int
    kind: Kind
    text: str
    left: str = ""
    column: str = ""
    operator: str = ""
    constants: tuple[str, ...] = ()
    number: bool = False


@lru_cache(maxsize=REMEMBERED)
def conditions(text: str) -> tuple[Condition, ...]:
    """Conditions of an UPDATE's or DELETE's WHERE, in order."""
    return tuple(
        _condition(place, leaf) for place, leaf in enumerate(_leaves(_where(postgast.parse(text))))
    )


def with_constants(text: str, condition: Condition, values: tuple[str, ...]) -> str:
    """The statement with these texts in the place of the condition's constants. A list may become
    longer or shorter; anything else has as many as before."""
    tree = postgast.parse(text)
    leaf = _leaves(_where(tree))[condition.place]
    places = _constant_nodes(leaf)
    if condition.kind != "list":
        assert len(places) == len(values)
        for node, value in zip(places, values, strict=True):
            _put(node, value)
        return postgast.deparse(tree)
    items = _items(leaf)
    model = ast.Node()
    model.CopyFrom(items[0])
    del items[:]
    for value in values:
        item = ast.Node()
        item.CopyFrom(model)
        _put(item, value)
        items.append(item)
    return postgast.deparse(tree)


def with_operator(text: str, condition: Condition, operator: Operator) -> str:
    """The statement with another operator in the place of the comparison's."""
    tree = postgast.parse(text)
    expression = _leaves(_where(tree))[condition.place].a_expr
    on_the_right = not _constant(expression.rexpr)
    expression.name[-1].string.sval = _FLIPPED[operator] if on_the_right else operator
    return postgast.deparse(tree)


def negated(text: str, condition: Condition) -> str:
    """The statement with the opposite of the condition."""
    tree = postgast.parse(text)
    leaf = _leaves(_where(tree))[condition.place]
    _become(leaf, _expression(opposite(condition)))
    return postgast.deparse(tree)


def opposite(condition: Condition) -> str:
    """The opposite of a condition, as people write it."""
    node = _expression(condition.text)
    match node.WhichOneof("node"):
        case "null_test":
            is_null = node.null_test.nulltesttype == ast.IS_NULL
            node.null_test.nulltesttype = ast.IS_NOT_NULL if is_null else ast.IS_NULL
        case "a_expr" if node.a_expr.kind in _OPPOSITE:
            expression = node.a_expr
            names = _OPPOSITE[expression.kind]
            found = names.index(expression.name[-1].string.sval)
            expression.name[-1].string.sval = names[1 - found]
            if expression.kind in (ast.AEXPR_BETWEEN, ast.AEXPR_NOT_BETWEEN):
                between = expression.kind == ast.AEXPR_BETWEEN
                expression.kind = ast.AEXPR_NOT_BETWEEN if between else ast.AEXPR_BETWEEN
        case _:
            return expression_text(_expression(f"NOT ({condition.text})"))
    return expression_text(node)


_OPPOSITE: dict[int, tuple[str, str]] = {
    ast.AEXPR_IN: ("=", "<>"),
    ast.AEXPR_LIKE: ("~~", "!~~"),
    ast.AEXPR_ILIKE: ("~~*", "!~~*"),
    ast.AEXPR_BETWEEN: ("BETWEEN", "NOT BETWEEN"),
    ast.AEXPR_NOT_BETWEEN: ("BETWEEN", "NOT BETWEEN"),
}


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined as the log writes it, and as they may have been run."""

    logged: str
    executed: str
    statement: str


def junctions(text: str) -> Iterator[Junction]:
    """Each AND that may have been an OR, each OR that may have been an AND, and each OR that may
    have lost its parentheses."""
    for place, _ in enumerate(_junctions(_where(postgast.parse(text)))):
        for otherwise in (_swapped, _ungrouped):
            tree = postgast.parse(text)
            node = _junctions(_where(tree))[place]
            logged = expression_text(node)
            other = otherwise(node)
            if other is not None:
                _become(node, other)
                yield Junction(logged, expression_text(node), postgast.deparse(tree))


def with_condition(text: str, condition: str) -> str:
    """The statement with one more condition, of a WHERE or without one."""
    tree = postgast.parse(text)
    statement = changing(tree)
    assert statement is not None
    more = _expression(condition)
    if not statement.HasField("where_clause"):
        statement.where_clause.CopyFrom(more)
        return postgast.deparse(tree)
    where = statement.where_clause
    if where.WhichOneof("node") == "bool_expr" and where.bool_expr.boolop == ast.AND_EXPR:
        where.bool_expr.args.append(more)
        return postgast.deparse(tree)
    _become(where, _joined(ast.AND_EXPR, [where, more]))
    return postgast.deparse(tree)


def plain(condition: str) -> str:
    """A condition as people write it, without quotes that it does not need."""
    return expression_text(_expression(condition))


@lru_cache(maxsize=REMEMBERED)
def where_with(text: str, condition: Condition, *, holds: bool) -> str:
    """The WHERE as an expression, with the condition held to be true, or false."""
    tree = postgast.parse(text)
    where = _where(tree)
    assert where is not None
    _become(_leaves(where)[condition.place], _expression("true" if holds else "false"))
    return expression_text(where)


@lru_cache(maxsize=REMEMBERED)
def where_text(text: str) -> str:
    """The WHERE as an expression; 'true' without one."""
    where = _where(postgast.parse(text))
    return expression_text(where) if where is not None else "true"


def _where(tree: ast.ParseResult) -> ast.Node | None:
    statement = changing(tree)
    if statement is None or not statement.HasField("where_clause"):
        return None
    return statement.where_clause


def _leaves(node: ast.Node | None) -> list[ast.Node]:
    if node is None:
        return []
    if node.WhichOneof("node") == "bool_expr":
        return [leaf for arg in node.bool_expr.args for leaf in _leaves(arg)]
    return [node]


def _junctions(node: ast.Node | None) -> list[ast.Node]:
    if node is None or node.WhichOneof("node") != "bool_expr":
        return []
    inner = [found for arg in node.bool_expr.args for found in _junctions(arg)]
    return inner if node.bool_expr.boolop == ast.NOT_EXPR else [node, *inner]


def _swapped(node: ast.Node) -> ast.Node | None:
    was_and = node.bool_expr.boolop == ast.AND_EXPR
    return _joined(ast.OR_EXPR if was_and else ast.AND_EXPR, node.bool_expr.args)


def _ungrouped(node: ast.Node) -> ast.Node | None:
    """a AND (b OR c) AND d without its parentheses: a AND b OR c AND d."""
    if node.bool_expr.boolop != ast.AND_EXPR:
        return None
    runs: list[list[ast.Node]] = [[]]
    for arg in node.bool_expr.args:
        if arg.WhichOneof("node") == "bool_expr" and arg.bool_expr.boolop == ast.OR_EXPR:
            first, *others = arg.bool_expr.args
            runs[-1].append(first)
            runs += [[one] for one in others]
        else:
            runs[-1].append(arg)
    if len(runs) == 1:
        return None
    return _joined(ast.OR_EXPR, [_joined(ast.AND_EXPR, run) for run in runs])


def _joined(operator: ast.BoolExprType, nodes: Sequence[ast.Node]) -> ast.Node:
    if len(nodes) == 1:
        return nodes[0]
    both = ast.Node()
    both.bool_expr.boolop = operator
    both.bool_expr.args.extend(nodes)
    return both


def _condition(place: int, leaf: ast.Node) -> Condition:
    text = expression_text(leaf)
    other = Condition(place, "other", text)
    if leaf.WhichOneof("node") != "a_expr":
        return other
    expression = leaf.a_expr
    operator = expression.name[-1].string.sval
    nodes = _constant_nodes(leaf)
    match expression.kind:
        case ast.AEXPR_OP if operator in ("!=", *OPERATORS):
            kind: Kind = "compare"
            operator = "<>" if operator == "!=" else operator
        case ast.AEXPR_BETWEEN:
            kind = "between"
        case ast.AEXPR_IN | ast.AEXPR_OP_ANY if operator == "=":
            kind = "list"
        case ast.AEXPR_LIKE | ast.AEXPR_ILIKE if operator in ("~~", "~~*"):
            kind = "like"
        case _:
            return other
    if not nodes:
        return other
    left = expression.lexpr
    if kind == "compare" and not _constant(expression.rexpr):
        left, operator = expression.rexpr, _FLIPPED[operator]
    values = [_constant_text(node) for node in nodes]
    if left.WhichOneof("node") in ("row_expr", "sub_link") or any(one is None for one in values):
        return other
    return Condition(
        place,
        kind,
        text,
        expression_text(left),
        _column(left),
        operator,
        tuple(one for one in values if one is not None),
        all(_bare(node).WhichOneof("val") in ("ival", "fval") for node in nodes),
    )


def _constant_nodes(leaf: ast.Node) -> list[ast.Node]:
    """Where a condition's constants are; nothing unless all it is compared with is constant."""
    expression = leaf.a_expr
    if expression.kind == ast.AEXPR_OP and not _constant(expression.rexpr):
        nodes = [expression.lexpr]
    elif expression.rexpr.WhichOneof("node") in ("list", "a_array_expr"):
        nodes = list(_items(leaf))
    else:
        nodes = [expression.rexpr]
    return nodes if all(_constant(node) for node in nodes) else []


def _items(leaf: ast.Node) -> MutableSequence[ast.Node]:
    right = leaf.a_expr.rexpr
    listed = right.WhichOneof("node") == "list"
    items: MutableSequence[ast.Node] = right.list.items if listed else right.a_array_expr.elements
    return items


def _constant(node: ast.Node) -> bool:
    match node.WhichOneof("node"):
        case "a_const":
            return node.a_const.WhichOneof("val") in ("ival", "fval", "sval")
        case "type_cast":
            return _constant(node.type_cast.arg)
        case _:
            return False


def _bare(node: ast.Node) -> ast.A_Const:
    return _bare(node.type_cast.arg) if node.WhichOneof("node") == "type_cast" else node.a_const


def _constant_text(node: ast.Node) -> str | None:
    constant = _bare(node)
    match constant.WhichOneof("val"):
        case "ival":
            return str(constant.ival.ival)
        case "fval":
            return str(constant.fval.fval)
        case "sval":
            return str(constant.sval.sval)
        case _:
            return None


def _put(node: ast.Node, value: str) -> None:
    constant = _bare(node)
    if constant.WhichOneof("val") == "sval":
        constant.sval.sval = value
    else:
        constant.ClearField("ival")
        constant.fval.fval = value


def _column(node: ast.Node) -> str:
    if node.WhichOneof("node") != "column_ref":
        return ""
    last = node.column_ref.fields[-1]
    return str(last.string.sval) if last.WhichOneof("node") == "string" else ""


def _become(node: ast.Node, other: ast.Node) -> None:
    copy = ast.Node()
    copy.CopyFrom(other)
    node.CopyFrom(copy)


def _expression(text: str) -> ast.Node:
    tree = postgast.parse(f"SELECT 1 WHERE {text}")
    return tree.stmts[0].stmt.select_stmt.where_clause
