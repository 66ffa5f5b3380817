"""What the statements of an act can meet: tables and columns that they read, conditions on rows,
tables that they write, and what follows from the writes through triggers, functions and foreign
keys.

Everything not understood is called opaque: it may read and write whatever there is. Whatever is
left out here is a wrong forecast, so names are matched generously: a column name belongs to every
table of the statement that has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import postgast
from postgast import pg_query_pb2 as ast

from recovery.replay.whatif import filters
from recovery.replay.whatif.filters import Filter, children, last_name, references
from recovery.replay.whatif.plpgsql import returned, texts
from recovery.replay.whatif.relations import ALL, EXISTENCE, Op, Reference, Relations, Trigger
from recovery.replay.whatif.scope import Occurrence, Scope

_VOLATILE = frozenset(
    {"random", "random_normal", "gen_random_uuid", "uuid_generate_v4", "uuid_generate_v1"}
)
# What may stand between statements without being able to run in the middle of a transaction, or
# without telling what it reads; everything else that is no query changes definitions.
_HARMLESS = frozenset(
    {
        *("variable_set_stmt", "variable_show_stmt", "transaction_stmt", "explain_stmt"),
        *("listen_stmt", "unlisten_stmt", "discard_stmt", "prepare_stmt", "execute_stmt"),
        *("deallocate_stmt", "declare_cursor_stmt", "fetch_stmt", "close_portal_stmt"),
        *("constraints_set_stmt", "copy_stmt", "call_stmt", "check_point_stmt", "vacuum_stmt"),
    }
)
_ROWS_ONLY = _HARMLESS | {
    *("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt", "do_stmt"),
    *("truncate_stmt", "lock_stmt"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """Rows of `table` that are looked at: those that pass the filter. A row that differs in none
    of the columns of `mask` makes no difference there. `target`: rows that are found are written,
    so that the run itself shows which they were."""

    table: int
    mask: int
    filter: Filter = filters.NONE
    target: bool = False


@dataclass(slots=True)
class Reading:
    """`opaque`: anything may be read and written. `barrier`: why it cannot be run again in another
    world. `definition`: it changes what the database is, not only its rows. `shuffled`: what it
    does depends on the order in which rows lie. `counted`: chance or numbers are given to several
    rows in that order; `chance`: not only numbers. `unobserved`: what it did may have been taken
    back, so that the run does not show which rows it found. `session`: it asks the session about
    numbers."""

    accesses: list[Access] = field(default_factory=list)
    writes: set[tuple[int, Op]] = field(default_factory=set)
    opaque: bool = False
    barrier: str = ""
    definition: bool = False
    shuffled: bool = False
    volatile: bool = False
    counted: bool = False
    chance: bool = False
    unobserved: bool = False
    session: bool = False

    def add(self, other: "Reading") -> None:
        self.accesses += other.accesses
        self.writes |= other.writes
        self.barrier = self.barrier or other.barrier
        for one in fields(self):
            if one.default is False:
                setattr(self, one.name, getattr(self, one.name) or getattr(other, one.name))

    @property
    def numbering(self) -> bool:
        """Whether it may ask a sequence for a number."""
        return self.volatile or self.opaque or self.session or bool(self.barrier)

    @property
    def tables(self) -> set[int]:
        """All that it names."""
        return {one.table for one in self.accesses} | {table for table, _ in self.writes}


class Reader:
    """Reads statements against one set of relations; what follows from a write is worked out
    once for every table and kind of write. Without `triggers` they are left out."""

    def __init__(self, relations: Relations, *, triggers: bool = True) -> None:
        self.relations = relations
        self._triggers = triggers
        self._following: dict[tuple[int, Op, frozenset[str] | None], Reading] = {}
        self._routines: dict[int, Reading] = {}

    def read(self, statements: Sequence[str]) -> Reading:
        """Of all the statements of an act."""
        found = Reading()
        for text in statements:
            self._statement(text, found)
        return found

    def _statement(self, text: str, reading: Reading) -> None:
        try:
            tree = postgast.parse(text)
        except postgast.PgQueryError:
            reading.opaque = True
            reading.barrier = "it does not parse"
            return
        for raw in tree.stmts:
            self._node(raw.stmt, reading)

    def _node(self, node: ast.Node, reading: Reading) -> None:
        match node.WhichOneof("node"):
            case "select_stmt" if node.select_stmt.HasField("into_clause"):
                reading.opaque = reading.definition = True
                reading.barrier = "SELECT INTO"
            case "insert_stmt":
                self._query(node.insert_stmt, reading)
            case "update_stmt":
                self._query(node.update_stmt, reading)
            case "delete_stmt":
                self._query(node.delete_stmt, reading)
            case "merge_stmt":
                self._query(node.merge_stmt, reading)
            case "select_stmt":
                self._query(node.select_stmt, reading)
            case "do_stmt":
                self._block(node.do_stmt, reading)
            case "truncate_stmt":
                self._truncate(node.truncate_stmt, reading)
            case "lock_stmt":
                pass
            case "transaction_stmt" if node.transaction_stmt.kind in (
                ast.TRANS_STMT_SAVEPOINT,
                ast.TRANS_STMT_RELEASE,
                ast.TRANS_STMT_ROLLBACK_TO,
            ):
                reading.unobserved = True
                reading.barrier = "savepoints"
            case kind:
                reading.opaque = True
                reading.barrier = str(kind)
                reading.definition = kind not in _HARMLESS

    # --- queries and writes -----------------------------------------------------------------------

    def _query(self, statement: ast.Node, reading: Reading) -> None:
        """Of a whole SELECT, INSERT, UPDATE, DELETE or MERGE, with what is inside it."""
        scope = Scope(self.relations, statement)
        local = Reading(opaque=scope.opaque, shuffled=scope.shuffled, session=scope.session)
        for name in scope.functions:
            self._called(name, local)
        for place in scope.occurrences:
            if place.ops:
                self._written(place, scope, statement, local)
            else:
                local.accesses.append(Access(place.table, scope.mask(place), place.filter))
        many = any(place.ops and not place.single for place in scope.occurrences)
        local.counted |= many and local.volatile
        for text in scope.views:
            self._statement(text, local)
        reading.add(local)

    def _written(
        self, place: Occurrence, scope: Scope, statement: ast.Node, local: Reading
    ) -> None:
        relation = self.relations.tables[place.table]
        ops = {op for op, _ in place.ops}
        for op, columns in place.ops:
            local.writes.add((place.table, op))
            local.add(self.following(place.table, op, columns))
        local.opaque |= relation.ruled
        early = self._early(place.table, ops)
        if ops == {"insert"}:
            return
        if "insert" in ops:
            local.accesses += self._conflicts(place, scope.mask(place), early)
            return
        mask = ALL if early else scope.mask(place, _deciding(place, statement, scope))
        local.accesses.append(Access(place.table, mask | EXISTENCE, place.filter, target=not early))

    def _conflicts(self, place: Occurrence, mask: int, early: bool) -> list[Access]:
        """Rows that an INSERT ... ON CONFLICT or a MERGE may find in its way."""
        relation = self.relations.tables[place.table]
        if len(place.ops) > 2 or relation.odd or early:
            return [Access(place.table, ALL)]
        found = []
        for unique in self.relations.uniques[place.table]:
            columns = sum(2 << column for column in unique.columns)
            equal = tuple(one for one in place.constants if one[0] in unique.columns)
            found.append(Access(place.table, mask | columns | EXISTENCE, Filter(equal)))
        return found

    def _early(self, table: int, ops: set[Op]) -> bool:
        """Whether a trigger comes before the write and may call it off, so that the run does not
        show which rows were found."""
        return any(
            one.before and one.ops & ops and not self._lets_pass(one, ops)
            for one in self.relations.triggers[table]
        )

    def _lets_pass(self, trigger: Trigger, ops: set[Op]) -> bool:
        """Whether a trigger that comes before a write never calls it off."""
        routine = self.relations.routines.get(trigger.function)
        if routine is None or routine.language != "plpgsql":
            return False
        return returned(routine.definition) <= ({"old"} if "delete" in ops else {"new", "old"})

    def following(self, table: int, op: Op, columns: frozenset[str] | None) -> Reading:
        """What a write does beyond itself: cascades, triggers, functions in its expressions."""
        name = (table, op, columns)
        if name in self._following:
            return self._following[name]
        reading = self._following[name] = Reading()  # a write that leads back to itself ends here
        relation = self.relations.tables[table]
        for reference in self.relations.children[table]:
            self._cascade(reference, op, columns, reading)
        if op != "delete":
            for text in relation.texts:
                for called in _functions(text):
                    self._called(called, reading)
            reading.volatile |= op == "insert" and any(one.identity for one in relation.columns)
        for trigger in self.relations.triggers[table] if self._triggers else ():
            touches = columns is None or not trigger.columns or trigger.columns & columns
            if op in trigger.ops and (op != "update" or touches):
                reading.add(self.routine(trigger.function))
        return reading

    def _cascade(
        self, reference: Reference, op: Op, columns: frozenset[str] | None, reading: Reading
    ) -> None:
        parent = self.relations.tables[reference.parent]
        named = {parent.columns[place].name for place in reference.parent_columns}
        if op == "insert" or (op == "update" and columns is not None and not named & columns):
            return
        action = reference.on_delete if op == "delete" else reference.on_update
        if action in ("no action", "restrict"):
            return
        child = self.relations.tables[reference.child]
        follows: Op = "delete" if action == "cascade" and op == "delete" else "update"
        reading.writes.add((child.number, follows))
        if self._early(child.number, {follows}):
            reading.accesses.append(Access(child.number, ALL))
        set_ = frozenset(child.columns[place].name for place in reference.columns)
        reading.add(self.following(child.number, follows, set_))

    # --- functions --------------------------------------------------------------------------------

    def _called(self, name: str, reading: Reading) -> None:
        reading.chance |= name in _VOLATILE
        reading.volatile |= name in _VOLATILE or name == "nextval"
        for number in self.relations.by_name.get(name, ()):
            reading.add(self.routine(number))

    def routine(self, number: int) -> Reading:
        """What a function may do, from its text."""
        if number in self._routines:
            return self._routines[number]
        reading = self._routines[number] = Reading()
        routine = self.relations.routines.get(number)
        if routine is None:
            return reading  # the server's own
        if routine.language == "plpgsql" and routine.definition:
            self._plpgsql(routine.definition, reading)
        elif routine.language == "sql" and routine.definition:
            self._sql_function(routine.definition, reading)
        else:
            reading.opaque = True
        return reading

    def _sql_function(self, definition: str, reading: Reading) -> None:
        made = postgast.parse(definition).stmts[0].stmt.create_function_stmt
        for option in made.options:
            if option.def_elem.defname == "as":
                self._body_statement(option.def_elem.arg.list.items[0].string.sval, reading)
        if made.HasField("sql_body"):
            self._sql_body(made.sql_body, reading)

    def _sql_body(self, node: ast.Node, reading: Reading) -> None:
        match node.WhichOneof("node"):
            case "list":
                for one in node.list.items:
                    self._sql_body(one, reading)
            case "return_stmt":
                self._query(node.return_stmt, reading)
            case _:
                self._node(node, reading)
                reading.opaque |= bool(reading.barrier)

    def _block(self, block: ast.DoStmt, reading: Reading) -> None:
        body, language = "", "plpgsql"
        for one in block.args:
            if one.def_elem.defname == "as":
                body = one.def_elem.arg.string.sval
            else:
                language = one.def_elem.arg.string.sval
        if language != "plpgsql":
            reading.opaque = True
            return
        quote = "$dbmend_body$"
        head = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS "
        self._plpgsql(f"{head}{quote}{body}{quote}", reading)

    def _plpgsql(self, definition: str, reading: Reading) -> None:
        body = texts(definition)
        if body is None:
            reading.opaque = True
            return
        reading.unobserved |= body.catches
        reading.shuffled |= body.loops or not all(self._one_row(one) for one in body.firsts)
        for text in body.queries:
            self._body_statement(text, reading)

    def _body_statement(self, text: str, reading: Reading) -> None:
        """Of a function: what cannot be run in the middle of a transaction is not known there."""
        found = Reading()
        self._statement(text, found)
        found.opaque |= bool(found.barrier)
        reading.add(replace(found, barrier="", definition=False))

    def _one_row(self, text: str) -> bool:
        """Whether a query that is asked for its first row has one alone."""
        try:
            node = postgast.parse(text).stmts[0].stmt
        except postgast.PgQueryError:
            return False
        if node.WhichOneof("node") != "select_stmt":
            return True  # the server itself refuses more than one
        return Scope(self.relations, node.select_stmt).one_row(node.select_stmt)

    # --- the rest ---------------------------------------------------------------------------------

    def _truncate(self, statement: ast.TruncateStmt, reading: Reading) -> None:
        if statement.restart_seqs:
            reading.barrier = "TRUNCATE RESTART IDENTITY"
        todo: list[int] = []
        for node in statement.relations:
            number = self.relations.number(node.range_var.schemaname, node.range_var.relname)
            if number is None or node.range_var.relname in self.relations.partitions:
                reading.opaque = True
                return
            todo.append(number)
        done: set[int] = set()
        while todo:
            number = todo.pop()
            if number not in done:
                done.add(number)
                reading.accesses.append(Access(number, ALL))
                reading.writes.add((number, "delete"))
                reading.add(self.following(number, "delete", None))
                todo += [one.child for one in self.relations.children[number]]


def defines(statements: Sequence[str]) -> bool:
    """Whether one of them changes what the database is, as far as its text says so."""
    for text in statements:
        try:
            kinds = [one.stmt.WhichOneof("node") for one in postgast.parse(text).stmts]
            into = "into" in text.lower() and any(
                one.stmt.select_stmt.HasField("into_clause") for one in postgast.parse(text).stmts
            )
        except postgast.PgQueryError:
            continue  # it fails
        if into or any(kind not in _ROWS_ONLY for kind in kinds):
            return True
    return False


def _deciding(place: Occurrence, statement: ast.Node, scope: Scope) -> ast.Node | None:
    """The part of the statement that decides which rows of its target are written; None for all
    of it. What is set from their own columns concerns rows that are written anyhow."""
    alone = len(scope.occurrences) == 1 and not scope.views and not scope.opaque
    if alone and place.where is not None and not _has_sublink(statement):
        return place.where
    return None


def _has_sublink(message: ast.Node) -> bool:
    if isinstance(message, ast.SubLink):
        return True
    return any(_has_sublink(value) for _, value in children(message))


def _functions(text: str) -> list[str]:
    """Functions called in an expression; what looks like a column may be one too."""
    try:
        tree = postgast.parse(f"SELECT {text}")
    except postgast.PgQueryError:
        tree = postgast.parse(f"SELECT ROW({text})")
    names = [last_name(one) for one in postgast.find_nodes(tree, ast.FuncCall)]
    return names + [ref[-1] for ref in references(tree) if len(ref) > 1]
