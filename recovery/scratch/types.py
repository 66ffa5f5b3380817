"""Which equality rules a column's type falls under: its family, found from pg_type."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from diffing.model import Family
from recovery.scratch.cluster import Connection

BY_NAME: Final[dict[str, Family]] = {
    "numeric": "numeric",
    "float4": "float",
    "float8": "float",
    "timestamptz": "timestamptz",
    "interval": "interval",
    "json": "json",
    "jsonb": "json",
    "bpchar": "char",
    "tsvector": "tsvector",
}
# Vectors are arrays to the catalog but print without braces.
PRINTED_AS_TEXT = frozenset({"int2vector", "oidvector"})

TYPES = """
SELECT t.oid::bigint AS oid, t.typname AS name, t.typtype AS sort, t.typcategory AS category,
       t.typbasetype::bigint AS base, t.typelem::bigint AS element,
       coalesce(r.rngsubtype, 0)::bigint AS subtype,
       (n.nspname = 'pg_catalog') AS built_in
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid)
"""


FIELDS = """
SELECT t.oid::bigint AS composite, a.atttypid::bigint AS type,
       coalesce(l.collisdeterministic, true) AS deterministic
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE t.typtype = 'c' AND t.typnamespace NOT IN (
    'pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace)
ORDER BY t.oid, a.attnum
"""


@dataclass(frozen=True, slots=True)
class FieldRow:
    composite: int
    type: int
    deterministic: bool


@dataclass(frozen=True, slots=True)
class TypeRow:
    oid: int
    name: str
    sort: str
    category: str
    base: int
    element: int
    subtype: int
    built_in: bool


class TypeCatalog:
    """The types of one database by oid."""

    def __init__(self, connection: Connection) -> None:
        with connection.cursor(row_factory=class_row(TypeRow)) as cursor:
            self._types = {row.oid: row for row in cursor.execute(TYPES)}
        with connection.cursor(row_factory=class_row(FieldRow)) as fields:
            found = fields.execute(FIELDS).fetchall()
        self._fields: defaultdict[int, list[tuple[int, bool]]] = defaultdict(list)
        for field in found:
            self._fields[field.composite].append((field.type, field.deterministic))

    def family(self, oid: int, *, deterministic: bool = True) -> Family:
        """`deterministic`: of the collation; text under a nondeterministic one is 'citext'."""
        row = self._base(oid)
        match row.sort:
            case "c":
                return "composite"
            case "r" | "m":
                return "range"
            case "b" if row.category == "A" and row.name not in PRINTED_AS_TEXT:
                return "array"
            case "b" if row.category == "S" and not deterministic:
                return "citext"
            case "b" if row.built_in:
                return BY_NAME.get(row.name, "text")
            case "b" if row.name == "citext":
                return "citext"
        return "text"

    def element(self, oid: int, *, deterministic: bool = True) -> Family:
        """The family of what an array or a range holds; 'text' for everything else."""
        row = self._base(oid)
        inner = row.subtype or (row.element if self.family(oid) == "array" else 0)
        return self.family(inner, deterministic=deterministic) if inner else "text"

    def fields(self, oid: int) -> tuple[Family, ...]:
        """The families of a composite's fields, or of what an array or a range of one holds."""
        row = self._base(oid)
        inner = row.subtype or (row.element if self.family(oid) == "array" else 0)
        whole = self._base(inner) if inner else row
        found = self._fields.get(whole.oid, ())
        return tuple(self.family(field, deterministic=same) for field, same in found)

    def _base(self, oid: int) -> TypeRow:
        row = self._types[oid]
        while row.sort == "d":
            row = self._types[row.base]
        return row
