"""Conditions that a row meets or fails by itself: made of one table's columns, constants and what
the server computes without looking at anything else.

Whatever of a WHERE cannot be judged so is left out, which lets more rows pass: a row that fails
the filter fails the WHERE, and that is all that is asked of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import postgast
from postgast import pg_query_pb2 as ast

from diffing.model import Column
from recovery.replay.whatif.relations import Relation

_MESSAGE = 11  # the type of a field, as protobuf numbers them

Equal = tuple[int, tuple[str, ...]]  # a column by place, and the texts it may have

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_INTEGER = re.compile(r"\s*(-?)0*(\d+)\s*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
_DECIMAL = re.compile(r"\s*(-?)0*(\d+)(?:\.(\d*?)0*)?\s*")
_FUNCTIONS = frozenset(
    {
        *("lower", "upper", "abs", "length", "char_length", "mod", "substr", "substring", "left"),
        *("right", "btrim", "ltrim", "rtrim", "round", "floor", "ceil", "ceiling", "trunc"),
        *("coalesce", "starts_with", "strpos", "replace", "sign", "concat"),
    }
)
_TYPES = frozenset(
    {
        *("int2", "int4", "int8", "numeric", "text", "varchar", "bpchar", "bool", "float8"),
        *("float4", "date", "uuid", "interval"),
    }
)
_PLAIN = frozenset({"text", "numeric", "float", "char", "citext"})
_NODES = frozenset(
    {
        *("a_expr", "bool_expr", "null_test", "boolean_test", "a_const", "column_ref"),
        *("type_cast", "func_call", "list", "coalesce_expr", "string", "integer"),
    }
)


@dataclass(frozen=True, slots=True)
class Filter:
    """`equal`: columns that must have one of these texts. `where`: the rest, in the server's
    words, over unqualified columns. Both hold for every row that passes."""

    equal: tuple[Equal, ...] = ()
    where: str = ""

    @property
    def nothing(self) -> bool:
        return not self.equal and not self.where


NONE = Filter()


def children(message: ast.Node) -> Iterator[tuple[str, ast.Node]]:
    """The messages inside, in order, with the name of the field that holds them."""
    for descriptor, value in message.ListFields():
        if descriptor.type != _MESSAGE:
            continue
        if hasattr(value, "ListFields"):
            yield descriptor.name, value
        else:
            for one in value:
                yield descriptor.name, one


def last_name(call: ast.FuncCall) -> str:
    return str(call.funcname[-1].string.sval)


def reference(node: ast.ColumnRef) -> tuple[str, ...]:
    """Its names; a star is '*'."""
    return tuple(
        "*" if one.WhichOneof("node") == "a_star" else str(one.string.sval) for one in node.fields
    )


def references(message: ast.Node) -> Iterator[tuple[str, ...]]:
    """All column references inside."""
    if isinstance(message, ast.ColumnRef):
        yield reference(message)
        return
    for _, value in children(message):
        yield from references(value)


def filter_of(where: ast.Node, relation: Relation, name: str) -> Filter:
    """What a WHERE demands of one row of `relation`, called `name` in it, by itself."""
    equal: list[Equal] = []
    texts: list[str] = []
    for condition in conditions(where):
        if not _local(condition, relation, name):
            continue
        found = _equality(condition, relation)
        if found is not None:
            equal.append(found)
        else:
            texts.append(_text(condition))
    return Filter(tuple(equal), "" if equal else " AND ".join(f"({one})" for one in texts))


def conditions(where: ast.Node) -> Iterator[ast.Node]:
    """The parts of a condition that must all hold."""
    if where.WhichOneof("node") == "bool_expr" and where.bool_expr.boolop == ast.AND_EXPR:
        for one in where.bool_expr.args:
            yield from conditions(one)
    elif where.WhichOneof("node"):
        yield where


def equated(condition: ast.Node) -> tuple[ast.Node, ast.Node] | None:
    """The sides of `a = b`."""
    if condition.WhichOneof("node") != "a_expr":
        return None
    one = condition.a_expr
    if one.kind != ast.AEXPR_OP or [part.string.sval for part in one.name] != ["="]:
        return None
    return one.lexpr, one.rexpr


def constant(node: ast.Node, column: Column) -> str | None:
    """The text that a constant has as a value of this column; None where that is not certain."""
    if node.WhichOneof("node") == "type_cast":
        named = node.type_cast.type_name
        if named.typmods or named.array_bounds or named.names[-1].string.sval not in _TYPES:
            return None
        kind = named.names[-1].string.sval
        if not _same_type(kind, column):
            return None
        node = node.type_cast.arg
    if node.WhichOneof("node") != "a_const" or node.a_const.isnull:
        return None
    value = node.a_const
    match value.WhichOneof("val"):
        case "ival":
            text, quoted = str(value.ival.ival), False
        case "fval":
            text, quoted = value.fval.fval, False
        case "sval":
            text, quoted = value.sval.sval, True
        case _:
            return None
    return told_as(text, column, quoted=quoted)


def normal(text: str | None, column: Column) -> str | None:
    """A value's text such that values which are equal for the server have equal texts; None where
    a text does not decide that."""
    if text is None:
        return None
    if column.family == "numeric":
        return text if column.type in _INTEGERS else _decimal(text)
    return text if column.family == "text" else None


def told_as(text: str, column: Column, *, quoted: bool) -> str | None:
    """What a constant of this text is as a value of this column; None where that is not certain."""
    kind = column.type
    if kind in _INTEGERS:
        whole = _INTEGER.fullmatch(text)
        return None if whole is None else _signed(whole[1], whole[2])
    if kind.startswith("numeric"):
        return _decimal(text)
    if not quoted or column.family != "text":
        return None
    if kind == "text" or kind.startswith("character varying"):
        return text
    if kind == "date":
        return text if _DATE.fullmatch(text) else None
    if kind == "uuid":
        return text.lower() if _UUID.fullmatch(text) else None
    return None


def _decimal(text: str) -> str | None:
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    whole = _signed(found[1], found[2]) if not found[3] else found[1] + found[2]
    return f"{whole}.{found[3]}" if found[3] else whole


def _signed(sign: str, digits: str) -> str:
    return digits if set(digits) == {"0"} else sign + digits


def _same_type(kind: str, column: Column) -> bool:
    return {
        "int2": column.type in _INTEGERS,
        "int4": column.type in _INTEGERS,
        "int8": column.type in _INTEGERS,
        "text": column.type == "text" or column.type.startswith("character varying"),
        "varchar": column.type == "text" or column.type.startswith("character varying"),
        "date": column.type == "date",
        "uuid": column.type == "uuid",
        "numeric": column.type.startswith("numeric"),
    }.get(kind, False)


def _equality(condition: ast.Node, relation: Relation) -> Equal | None:
    sides = equated(condition)
    if sides is not None:
        for left, right in (sides, sides[::-1]):
            place = _place(left, relation)
            text = None if place is None else constant(right, relation.columns[place])
            if place is not None and text is not None:
                return place, (text,)
        return None
    if condition.WhichOneof("node") != "a_expr" or condition.a_expr.kind != ast.AEXPR_IN:
        return None
    if [part.string.sval for part in condition.a_expr.name] != ["="]:
        return None
    place = _place(condition.a_expr.lexpr, relation)
    if place is None:
        return None
    column = relation.columns[place]
    texts = [constant(one, column) for one in condition.a_expr.rexpr.list.items]
    known = tuple(one for one in texts if one is not None)
    return (place, known) if len(known) == len(texts) else None


def _place(node: ast.Node, relation: Relation) -> int | None:
    if node.WhichOneof("node") != "column_ref":
        return None
    return relation.places.get(reference(node.column_ref)[-1])


def _local(node: ast.Node, relation: Relation, name: str) -> bool:
    match node:
        case ast.Node():
            if node.WhichOneof("node") not in _NODES:
                return False
        case ast.ColumnRef():
            names = reference(node)
            if len(names) == 2 and names[0] != name:
                return False
            if len(names) > 2 or names[-1] not in relation.places:
                return False
            return relation.columns[relation.places[names[-1]]].family in _PLAIN
        case ast.FuncCall():
            if last_name(node) not in _FUNCTIONS or node.over.ByteSize() or node.agg_order:
                return False
        case ast.TypeName():
            return node.names[-1].string.sval in _TYPES and not node.array_bounds
        case _:
            pass
    return all(_local(value, relation, name) for _, value in children(node))


def _text(condition: ast.Node) -> str:
    tree = postgast.parse("SELECT 1 WHERE true")
    where = tree.stmts[0].stmt.select_stmt.where_clause
    where.CopyFrom(condition)
    _bare(where)
    return postgast.deparse(tree).split(" WHERE ", 1)[1]


def _bare(message: ast.Node) -> None:
    """Columns without the name of their table."""
    if isinstance(message, ast.ColumnRef):
        while len(message.fields) > 1:
            del message.fields[0]
        return
    for _, value in children(message):
        _bare(value)
