"""Everything of a schema that is shown as text: views, indexes, functions, types, grants ..."""

from typing import Final, Literal, cast

from psycopg import sql

from diffing.model import SchemaObject, qualified
from recovery.scratch import queries
from recovery.scratch.cluster import Connection

ObjectKind = Literal["view", "index", "function", "type", "extension", "grant", "partition", "rule"]
SORTED_LINES: Final = frozenset({"grant"})  # the order of an ACL means nothing


def read_objects(connection: Connection) -> tuple[SchemaObject, ...]:
    """Sorted by kind and name. search_path must be pg_catalog."""
    found = []
    for question in queries.OBJECTS:
        text = sql.SQL(question)
        for kind, parts, suffix, definition in connection.execute(text).fetchall():
            words = str(definition)
            if kind in SORTED_LINES:
                words = "\n".join(sorted(words.split("\n")))
            found.append(SchemaObject(cast(ObjectKind, kind), _name(parts) + str(suffix), words))
    return tuple(sorted(found, key=lambda o: (o.kind, o.name, o.definition)))


def _name(parts: object) -> str:
    assert isinstance(parts, list)
    first, *rest = (str(part) for part in parts)
    for part in rest:
        first = qualified(first, part) if first == parts[0] else first + "." + _quoted(part)
    return first


def _quoted(part: str) -> str:
    return qualified("", part).removeprefix(".")
