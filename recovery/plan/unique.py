"""Which columns of a table have to be unique together: by constraint, or by a unique index alone.
Partial indexes and those over expressions are not told: the rehearsal meets them."""

from collections.abc import Iterator
from dataclasses import dataclass

import postgast
from postgast import pg_query_pb2 as ast

from diffing.model import Schema, qualified


@dataclass(frozen=True, slots=True)
class Unique:
    name: str
    table: str
    columns: tuple[str, ...]


def unique_columns(schema: Schema) -> Iterator[Unique]:
    """Of every table of the schema, constraints first."""
    for constraint in schema.constraints:
        if constraint.kind in ("primary", "unique") and schema.has(constraint.table):
            yield Unique(constraint.name, constraint.table, constraint.columns)
    for thing in schema.objects:
        if thing.kind == "index" and thing.definition.startswith("CREATE UNIQUE INDEX "):
            found = _index(thing.definition)
            if found is not None and schema.has(found.table):
                yield found


def _index(definition: str) -> Unique | None:
    statement: ast.IndexStmt = postgast.parse(definition).stmts[0].stmt.index_stmt
    columns = tuple(part.index_elem.name for part in statement.index_params)
    if statement.HasField("where_clause") or not all(columns):
        return None
    table = qualified(statement.relation.schemaname, statement.relation.relname)
    return Unique(statement.idxname, table, columns)
