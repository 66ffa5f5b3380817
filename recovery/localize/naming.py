"""Which tables an act names, to read or to write: two acts that name no table of each other's
writing do not concern each other, triggers apart."""

import postgast
from postgast import pg_query_pb2 as ast

from diffing.model import Schema, qualified
from recovery.model import Act


def named(act: Act, schema: Schema) -> frozenset[str]:
    """Qualified names; a name without a schema stands for every table that is called so."""
    found: set[str] = set()
    for text in act.statements:
        try:
            tree = postgast.parse(text)
        except postgast.PgQueryError:
            continue
        for node in postgast.find_nodes(tree, ast.RangeVar):
            if node.schemaname:
                found.add(qualified(node.schemaname, node.relname))
            else:
                found |= {one.name for one in schema.tables if one.relation == node.relname}
    return frozenset(found)
