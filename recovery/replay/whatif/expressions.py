"""Expressions over one row, computed here as the server computes them: whole numbers, decimals,
plain text, truth and the pinned clock. Whatever could come out otherwise there is not taken on.

Nothing is left out for being decided already (`false AND ...`): in which order the server looks at
the parts is its own affair, and a part that fails would fail the statement.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import (
    ROUND_HALF_UP,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Literal

from postgast import pg_query_pb2 as ast

from diffing.model import Column
from recovery.replay.whatif.filters import last_name, reference
from recovery.replay.whatif.relations import Relation

Value = int | Decimal | str | bool | None
Fields = tuple[str | None, ...]
Kind = Literal["int2", "int4", "int8", "numeric", "text", "bool", "moment", "unknown", "null"]


class Unsure(Exception):
    """What the server would make of this is not known here."""


@dataclass(frozen=True, slots=True)
class Row:
    """Values of a row as texts, and the pinned time as the server prints it."""

    fields: Fields
    now: str


@dataclass(frozen=True, slots=True)
class Term:
    kind: Kind
    value: Callable[[Row], Value]


INTEGERS: dict[str, Kind] = {"smallint": "int2", "integer": "int4", "bigint": "int8"}
_LIMITS: dict[str, int] = {"int2": 1 << 15, "int4": 1 << 31, "int8": 1 << 63}
_ORDER: tuple[Kind, ...] = ("int2", "int4", "int8", "numeric")
_NUMERIC = re.compile(r"numeric(?:\((\d+),(\d+)\))?")
_VARCHAR = re.compile(r"character varying(?:\((\d+)\))?")
_DECIMAL = re.compile(r"-?\d{1,60}(?:\.\d{1,60})?")
_WHOLE = re.compile(r"-?\d{1,18}")
_DIGITS = 300
_EXACT = Context(prec=_DIGITS, traps=[Inexact, InvalidOperation, Overflow, Clamped, DivisionByZero])
_ROUNDING = Context(prec=_DIGITS, rounding=ROUND_HALF_UP, traps=[InvalidOperation, Overflow])
_COMPARES = frozenset({"=", "<>", "<", ">", "<=", ">="})


def column_kind(column: Column) -> Kind | None:
    """None: values of this column are not computed here."""
    kind = column.type
    if kind in INTEGERS:
        return INTEGERS[kind]
    if _NUMERIC.fullmatch(kind):
        return "numeric"
    if column.family == "text" and (kind == "text" or _VARCHAR.fullmatch(kind)):
        return "text"
    if kind == "boolean":
        return "bool"
    return "moment" if kind == "timestamp with time zone" else None


def digits(column: Column) -> int | None:
    """How many digits behind the point all values of a column of decimals have."""
    found = _NUMERIC.fullmatch(column.type)
    return int(found[2]) if found and found[2] else None


def read(text: str | None, kind: Kind) -> Value:
    """The value that the server prints so. Raises Unsure."""
    if text is None or kind == "text" or kind == "moment":
        return text
    if kind == "bool":
        return text == "t"
    if kind == "numeric":
        if not _DECIMAL.fullmatch(text):
            raise Unsure
        return Decimal(text)
    return int(text)


def assigned(value: Value, column: Column, kind: Kind) -> str | None:
    """As the server prints what a column is when it is given a value. Raises Unsure."""
    if value is None:
        if column.not_null:
            raise Unsure
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, str):
        limited = _VARCHAR.fullmatch(column.type)
        if limited and limited[1] and len(value) > int(limited[1]):
            raise Unsure
        return value
    if kind in _LIMITS:
        return str(_ranged(int(_rounded(Decimal(value), 0)), kind))
    limits = _NUMERIC.fullmatch(column.type)
    number = Decimal(value)
    if limits and limits[1]:
        number = _rounded(number, int(limits[2]))
        if abs(number) >= Decimal(10) ** (int(limits[1]) - int(limits[2])):
            raise Unsure
    return format(number if number else abs(number), "f")


def takes(column: Kind, given: Kind) -> bool:
    """Whether a column takes a value of this kind by a conversion that is known here."""
    if given == "null" or column == given:
        return True
    if column in _ORDER:
        return given in _ORDER
    return column == "text" and given == "unknown"


def compiled(node: ast.Node, relation: Relation, name: str, known: Collection[str]) -> Term | None:
    """An expression over a row of `relation`, called `name` in it. `known`: functions that mean
    something of their own here. None: it holds what is not computed here."""
    return _Compiler(relation, name, known).term(node)


@dataclass(frozen=True, slots=True)
class _Compiler:
    relation: Relation
    name: str
    known: Collection[str]

    def term(self, node: ast.Node) -> Term | None:
        match node.WhichOneof("node"):
            case "column_ref":
                return self._column(reference(node.column_ref))
            case "a_const":
                return _constant(node.a_const)
            case "a_expr":
                return self._expression(node.a_expr)
            case "bool_expr":
                return self._truth(node.bool_expr)
            case "null_test":
                return self._null(node.null_test)
            case "func_call":
                return self._call(node.func_call)
            case "sqlvalue_function" if node.sqlvalue_function.op == ast.SVFOP_CURRENT_TIMESTAMP:
                return Term("moment", lambda row: row.now)
            case _:
                return None

    def _column(self, names: tuple[str, ...]) -> Term | None:
        if len(names) > 2 or (len(names) == 2 and names[0] != self.name):
            return None
        place = self.relation.places.get(names[-1])
        if place is None:
            return None
        kind = column_kind(self.relation.columns[place])
        if kind is None:
            return None
        return Term(kind, lambda row: read(row.fields[place], kind))

    def _expression(self, node: ast.A_Expr) -> Term | None:
        names = [one.string.sval for one in node.name]
        if node.kind == ast.AEXPR_IN and names == ["="]:
            parts = [self._compare("=", node.lexpr, one) for one in node.rexpr.list.items]
            return _all(parts, any_=True)
        if node.kind == ast.AEXPR_BETWEEN and len(node.rexpr.list.items) == 2:
            low, high = node.rexpr.list.items
            return _all(
                [self._compare(">=", node.lexpr, low), self._compare("<=", node.lexpr, high)],
                any_=False,
            )
        if node.kind != ast.AEXPR_OP or len(names) != 1 or not node.rexpr.WhichOneof("node"):
            return None
        if names[0] in _COMPARES and node.lexpr.WhichOneof("node"):
            return self._compare(names[0], node.lexpr, node.rexpr)
        right = self.term(node.rexpr)
        if not node.lexpr.WhichOneof("node"):
            left: Term | None = Term("int4", lambda row: 0)
            return _arithmetic("-", left, right) if names == ["-"] else None
        return _arithmetic(names[0], self.term(node.lexpr), right)

    def _compare(self, operator: str, one: ast.Node, other: ast.Node) -> Term | None:
        left, right = self.term(one), self.term(other)
        if left is None or right is None:
            return None
        left, right = _like(left, right), _like(right, left)
        numbers = left.kind in _ORDER and right.kind in _ORDER
        texts = left.kind == right.kind and left.kind in ("text", "bool")
        if not numbers and not (texts and operator in ("=", "<>")):
            return None

        def value(row: Row) -> Value:
            a, b = left.value(row), right.value(row)
            if a is None or b is None:
                return None
            if isinstance(a, str) or isinstance(b, str):
                return (a == b) is (operator == "=")
            return _compared(operator, a, b)

        return Term("bool", value)

    def _truth(self, node: ast.BoolExpr) -> Term | None:
        parts = [self.term(one) for one in node.args]
        if any(one is None or one.kind not in ("bool", "null") for one in parts):
            return None
        if node.boolop == ast.NOT_EXPR:
            part = parts[0]
            assert part is not None
            return Term("bool", lambda row: _not(part.value(row)))
        return _all(parts, any_=node.boolop == ast.OR_EXPR)

    def _null(self, node: ast.NullTest) -> Term | None:
        part = self.term(node.arg)
        if part is None or node.argisrow:
            return None
        wanted = node.nulltesttype == ast.IS_NULL
        return Term("bool", lambda row: (part.value(row) is None) is wanted)

    def _call(self, node: ast.FuncCall) -> Term | None:
        name = last_name(node)
        if len(node.funcname) > 1 or name in self.known or _dressed(node):
            return None
        if name == "now" and not node.args:
            return Term("moment", lambda row: row.now)
        parts = [self.term(one) for one in node.args]
        if name != "round" or not parts or parts[0] is None or parts[0].kind != "numeric":
            return None
        digits = 0
        if len(parts) == 2:
            if node.args[1].WhichOneof("node") != "a_const":
                return None
            digits = node.args[1].a_const.ival.ival
            if node.args[1].a_const.WhichOneof("val") != "ival" or not 0 <= digits <= 50:
                return None
        first = parts[0]

        def value(row: Row) -> Value:
            number = first.value(row)
            return None if number is None else _rounded(Decimal(number), digits)

        return Term("numeric", value) if len(parts) < 3 else None


def _dressed(call: ast.FuncCall) -> bool:
    return bool(
        call.agg_star
        or call.agg_distinct
        or call.func_variadic
        or call.agg_order
        or call.HasField("over")
        or call.HasField("agg_filter")
    )


def _constant(node: ast.A_Const) -> Term | None:
    if node.isnull:
        return Term("null", lambda row: None)
    match node.WhichOneof("val"):
        case "ival":
            whole = node.ival.ival
            return Term("int4", lambda row: whole)
        case "fval" if _DECIMAL.fullmatch(node.fval.fval):
            number = Decimal(node.fval.fval)
            if "." not in node.fval.fval and abs(number) < _LIMITS["int8"]:
                return Term("int8", lambda row: int(number))
            return Term("numeric", lambda row: number)
        case "boolval":
            truth = node.boolval.boolval
            return Term("bool", lambda row: truth)
        case "sval":
            text = node.sval.sval
            return Term("unknown", lambda row: text)
        case _:
            return None


def _like(term: Term, other: Term) -> Term:
    """A constant in quotes is of the kind of what it is compared with."""
    if term.kind != "unknown":
        return term
    if other.kind == "text":
        return Term("text", term.value)
    text = term.value(Row((), ""))
    if other.kind in _LIMITS and isinstance(text, str) and _WHOLE.fullmatch(text):
        whole = int(text)
        if abs(whole) < _LIMITS[other.kind]:
            return Term(other.kind, lambda row: whole)
    return term


def _arithmetic(operator: str, left: Term | None, right: Term | None) -> Term | None:
    if left is None or right is None or operator not in ("+", "-", "*"):
        return None
    if left.kind not in _ORDER or right.kind not in _ORDER:
        return None
    kind = max(left.kind, right.kind, key=_ORDER.index)

    def value(row: Row) -> Value:
        a, b = left.value(row), right.value(row)
        if a is None or b is None:
            return None
        if kind == "numeric":
            return _exactly(operator, Decimal(a), Decimal(b))
        return _ranged(int(_exactly(operator, Decimal(a), Decimal(b))), kind)

    return Term(kind, value)


def _exactly(operator: str, one: Decimal, other: Decimal) -> Decimal:
    try:
        match operator:
            case "+":
                return _EXACT.add(one, other)
            case "-":
                return _EXACT.subtract(one, other)
            case _:
                return _EXACT.multiply(one, other)
    except ArithmeticError as error:
        raise Unsure from error


def _rounded(number: Decimal, digits: int) -> Decimal:
    """Halves go away from zero."""
    try:
        return number.quantize(Decimal(1).scaleb(-digits), context=_ROUNDING)
    except ArithmeticError as error:
        raise Unsure from error


def _ranged(number: int, kind: Kind) -> int:
    limit = _LIMITS[kind]
    if not -limit <= number < limit:
        raise Unsure
    return number


def _compared(operator: str, one: int | Decimal, other: int | Decimal) -> bool:
    match operator:
        case "=":
            return one == other
        case "<>":
            return one != other
        case "<":
            return one < other
        case ">":
            return one > other
        case "<=":
            return one <= other
        case _:
            return one >= other


def _all(parts: Sequence[Term | None], *, any_: bool) -> Term | None:
    """All of them, or any, in three-valued logic."""
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        return None

    def value(row: Row) -> Value:
        found = [one.value(row) for one in known]
        if any(one is any_ for one in found):
            return any_
        return None if None in found else not any_

    return Term("bool", value)


def _not(value: Value) -> Value:
    return None if value is None else not value
