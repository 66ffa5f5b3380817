"""Which later steps a dependency replay would run again when it is told the faulty step: by columns
alone, and by columns and rows, as systems do that undo a known transaction.

What a step reads is taken from its text; what it wrote, triggers and cascades included, is known
from the lives of the history, which is more than such a system has. References are not followed,
which is in its favour too. Two steps of a column depend on each other if one of them writes it.
Rows are told apart where the text names them by their key, else a step is about all rows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import postgast
from postgast import pg_query_pb2 as ast

from benchmarks.generator import Case
from recovery.demo.twin import TableShape, compact

Rows = frozenset[str] | None  # keys as compact JSON; None: all
Place = tuple[str, str]  # table, column; column '' is the rows' existence


@dataclass(frozen=True, slots=True)
class Reach:
    """What a step reads or writes; of a table it is about these rows."""

    reads: frozenset[Place]
    writes: frozenset[Place]
    rows: Mapping[str, Rows]


@dataclass(frozen=True, slots=True)
class _Query:
    """A statement or a part of one: its tables by the names that columns are qualified with."""

    tables: Mapping[str, TableShape]
    where: ast.Node


def reaches(case: Case) -> dict[str, Reach]:
    """Of every step that ran or was meant, by its id."""
    written: dict[str, dict[Place, set[str]]] = defaultdict(lambda: defaultdict(set))
    for world in (case.worlds.actual, case.worlds.intended):
        for (table, key, column), steps in world.writers.items():
            for step in steps:
                written[step][table, column].add(key)
    found = {}
    for one in case.history.happenings:
        texts = [
            case.worlds.actual.texts.get(one.id, one.executed),
            case.worlds.intended.texts.get(one.id, one.intended),
        ]
        found[one.id] = _reach(texts, case.worlds.tables, written[one.id])
    return found


def run_again(case: Case, *, rows: bool) -> float | None:
    """The share of the logged steps after the fault that would be run again; None where there are
    none, or no fault that is a step."""
    guilty = {one.id: one for one in case.history.happenings if one.fault}
    ran = {one.id: one.ran_place for one in case.history.happenings}
    told = [step for step in case.log.steps if step.text and step.origin in ran]
    faulty = [one for one in guilty.values() if one.executed or one.intended]
    if not faulty:
        return None
    first = min(min(one.place, one.ran_place) for one in faulty)
    later = [one.origin for one in told if ran[one.origin] > first and one.origin not in guilty]
    if not later:
        return None
    known = reaches(case)
    order = sorted([*(one.id for one in faulty), *later], key=lambda step: ran[step])
    dirty: dict[Place, Rows] = {}
    again = 0
    for step in order:
        reach = known[step]
        if step not in guilty and not _depends(reach, dirty, rows=rows):
            continue
        again += step not in guilty
        for place in reach.writes:
            had = dirty.get(place, frozenset())
            new = reach.rows.get(place[0])
            dirty[place] = None if had is None or new is None else had | new
    return again / len(later)


def _depends(reach: Reach, dirty: Mapping[Place, Rows], *, rows: bool) -> bool:
    for place in reach.reads | reach.writes:
        if place not in dirty:
            continue
        ours, theirs = reach.rows.get(place[0]), dirty[place]
        if not rows or ours is None or theirs is None or ours & theirs:
            return True
    return False


def _reach(
    texts: Sequence[str], tables: Sequence[TableShape], written: Mapping[Place, set[str]]
) -> Reach:
    reads: set[Place] = set()
    rows: dict[str, Rows] = {}
    named: set[str] = set()
    for text in {text for text in texts if text}:
        named |= {shape.name for shape in _named(text, tables)}
        for shape, column in _columns_read(text, tables):
            reads.add((shape.name, column))
        for query in _queries(text, tables):
            for name, shape in query.tables.items():
                _widen(rows, shape.name, _pinned(query.where, name, shape, len(query.tables)))
    for (table, _), keys in written.items():
        _widen(rows, table, frozenset(keys))
        if table not in named:  # a trigger or a cascade wrote there; what it wrote it may have read
            reads.update(place for place in written if place[0] == table)
    return Reach(frozenset(reads), frozenset(written), rows)


def _widen(rows: dict[str, Rows], table: str, more: Rows) -> None:
    had = rows.get(table, frozenset())
    rows[table] = None if had is None or more is None else had | more


def _columns_read(text: str, tables: Sequence[TableShape]) -> Iterator[tuple[TableShape, str]]:
    """Columns that the text names in expressions and conditions, of every table that has them."""
    tree = _tree(text)
    named = _named(text, tables)
    inserted = {_name(one.relation) for one in postgast.find_nodes(tree, ast.InsertStmt)}
    for shape in named:
        if shape.name.split(".")[-1] not in inserted:
            yield shape, ""
    for one in postgast.find_nodes(tree, ast.ColumnRef):
        last = one.fields[-1]
        for shape in named:
            if last.WhichOneof("node") == "a_star":
                yield from ((shape, column) for column in shape.columns)
            elif last.string.sval in shape.columns:
                yield shape, last.string.sval


def _named(text: str, tables: Sequence[TableShape]) -> list[TableShape]:
    found = [_shape(one, tables) for one in postgast.find_nodes(_tree(text), ast.RangeVar)]
    return [one for one in found if one is not None]


def _queries(text: str, tables: Sequence[TableShape]) -> Iterator[_Query]:
    tree = _tree(text)
    for update in postgast.find_nodes(tree, ast.UpdateStmt):
        yield _query([update.relation, *_from(update.from_clause)], update.where_clause, tables)
    for delete in postgast.find_nodes(tree, ast.DeleteStmt):
        yield _query([delete.relation, *_from(delete.using_clause)], delete.where_clause, tables)
    for select in postgast.find_nodes(tree, ast.SelectStmt):
        yield _query(list(_from(select.from_clause)), select.where_clause, tables)


def _query(
    relations: Sequence[ast.RangeVar], where: ast.Node, tables: Sequence[TableShape]
) -> _Query:
    found = {}
    for one in relations:
        shape = _shape(one, tables)
        if shape is not None:
            found[one.alias.aliasname or one.relname] = shape
    return _Query(found, where)


def _from(items: Sequence[ast.Node]) -> Iterator[ast.RangeVar]:
    for item in items:
        match item.WhichOneof("node"):
            case "range_var":
                yield item.range_var
            case "join_expr":
                yield from _from([item.join_expr.larg, item.join_expr.rarg])


def _pinned(where: ast.Node, name: str, shape: TableShape, tables: int) -> Rows:
    """The rows that a condition names by their key; None where it does not."""
    if len(shape.key) != 1:
        return None
    key = shape.columns[shape.key[0]]
    for one in _conjuncts(where):
        expression = one.a_expr
        column = expression.lexpr.column_ref
        words = [field.string.sval for field in column.fields]
        if not words or words[-1] != key or (len(words) > 1 and words[-2] != name):
            continue
        if len(words) == 1 and tables > 1:
            continue
        if expression.kind == ast.AEXPR_OP and [n.string.sval for n in expression.name] == ["="]:
            values = [_constant(expression.rexpr)]
        elif expression.kind == ast.AEXPR_IN and expression.name[0].string.sval == "=":
            values = [_constant(item) for item in expression.rexpr.list.items]
        else:
            continue
        if all(value is not None for value in values):
            return frozenset(compact({key: value}) for value in values)
    return None


def _conjuncts(where: ast.Node) -> Iterator[ast.Node]:
    kind = where.WhichOneof("node")
    if kind == "bool_expr" and where.bool_expr.boolop == ast.AND_EXPR:
        for one in where.bool_expr.args:
            yield from _conjuncts(one)
    elif kind == "a_expr" and where.a_expr.lexpr.WhichOneof("node") == "column_ref":
        yield where


def _constant(node: ast.Node) -> str | None:
    if node.WhichOneof("node") == "type_cast":
        return _constant(node.type_cast.arg)
    if node.WhichOneof("node") != "a_const":
        return None
    match node.a_const.WhichOneof("val"):
        case "ival":
            return str(node.a_const.ival.ival)
        case "fval":
            return str(node.a_const.fval.fval)
        case "sval":
            return str(node.a_const.sval.sval)
    return None


def _shape(relation: ast.RangeVar, tables: Sequence[TableShape]) -> TableShape | None:
    return next((one for one in tables if one.name.split(".", 1)[1] == relation.relname), None)


def _name(relation: ast.RangeVar) -> str:
    return str(relation.relname)


@cache
def _tree(text: str) -> ast.ParseResult:
    try:
        return postgast.parse(text)
    except postgast.PgQueryError:
        return ast.ParseResult()
