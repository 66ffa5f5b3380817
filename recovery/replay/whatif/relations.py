"""What the database itself says about its tables that decides which rows an act can meet: keys,
unique values, foreign keys, triggers, functions, views, rules, sequences.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from psycopg import Connection, sql

from diffing.model import Action, Column, ForeignKey, Schema, Table, parts, qualified

Op = Literal["insert", "update", "delete"]
ALL = -1  # as a mask: every column, and whether the row is there
EXISTENCE = 1  # the lowest bit: whether the row is there


@dataclass(frozen=True, slots=True)
class Unique:
    """Columns of a unique index, by place."""

    table: int
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: rows of `child` point to rows of `parent`, columns by place."""

    child: int
    columns: tuple[int, ...]
    parent: int
    parent_columns: tuple[int, ...]
    on_delete: Action
    on_update: Action


@dataclass(frozen=True, slots=True)
class Trigger:
    function: int
    ops: frozenset[Op]
    columns: frozenset[str]  # UPDATE OF; empty: any
    before: bool


@dataclass(frozen=True, slots=True)
class Routine:
    name: str
    language: str
    definition: str


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """A table as what-ifs see it. `odd`: something else than columns decides what is unique."""

    number: int
    table: Table
    keyed: bool
    key: tuple[int, ...]  # places of the key's columns
    places: Mapping[str, int]
    texts: tuple[str, ...]  # expressions that a write evaluates: defaults, checks, indexes
    odd: bool
    ruled: bool  # a rule stands in the way of writes
    guarded: bool  # a policy decides which rows are seen

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.table.schema, self.table.relation)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.table.columns

    def bit(self, column: str) -> int:
        return 2 << self.places[column]


@dataclass(frozen=True, slots=True)
class Relations:
    tables: tuple[Relation, ...]
    numbers: Mapping[str, int]  # by whole name, partitions too
    short: Mapping[str, int]  # by name without schema, as an act's search path finds it
    uniques: tuple[tuple[Unique, ...], ...]  # per table
    parents: tuple[tuple[Reference, ...], ...]  # per table: what its rows point to
    children: tuple[tuple[Reference, ...], ...]  # per table: what points to its rows
    triggers: tuple[tuple[Trigger, ...], ...]
    routines: Mapping[int, Routine]
    by_name: Mapping[str, tuple[int, ...]]  # routines by their name without schema
    partitions: frozenset[str]  # their names, without schema
    views: Mapping[str, str]
    sequences: tuple[str, ...]  # as SQL
    deferred: tuple[str, ...]  # constraints that wait for the COMMIT, as SQL
    obstacle: str  # why nothing can be told in this database, or ''

    def number(self, schema: str, relation: str) -> int | None:
        """The table of this name; without a schema as an act's search path finds it."""
        if schema:
            return self.numbers.get(qualified(schema, relation))
        return self.short.get(relation)

    def view(self, schema: str, relation: str) -> str | None:
        """The text of the view of this name."""
        if schema:
            return self.views.get(qualified(schema, relation))
        named = [name for name in self.views if parts(name)[1] == relation]
        named.sort(key=lambda name: (parts(name)[0] != "public", name))
        return self.views[named[0]] if named else None


_OURS = "^(pg_|information_schema$|dbmend_)"
_UNIQUE = f"""
SELECT coalesce(pg_catalog.pg_partition_root(i.indrelid), i.indrelid)::bigint,
  i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR NOT i.indisunique
    OR pg_catalog.pg_get_indexdef(i.indexrelid) LIKE '%NULLS NOT DISTINCT%',
  ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY
    AS k (n, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
    ORDER BY k.place)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
WHERE (i.indisunique OR i.indisexclusion) AND c.relkind IN ('r', 'p')
  AND c.relnamespace::regnamespace::text !~ '{_OURS}'
"""
_TRIGGERS = f"""
SELECT coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid)::bigint, d.refobjid::bigint,
  t.tgtype::int, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)), t.tgenabled IN ('A', 'R')
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
CROSS JOIN LATERAL (SELECT t.tgfoid UNION SELECT d.refobjid FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
  AND d.refclassid = 'pg_proc'::regclass) AS d (refobjid)
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND c.relnamespace::regnamespace::text !~ '{_OURS}'
"""
_ROUTINES = f"""
SELECT p.oid::bigint, p.proname::text, l.lanname::text,
  CASE WHEN l.lanname IN ('sql', 'plpgsql') AND p.prokind IN ('f', 'p')
       THEN pg_catalog.pg_get_functiondef(p.oid) ELSE '' END,
  EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.pronamespace::regnamespace::text !~ '{_OURS}'
"""
_TEXTS = f"""
SELECT coalesce(pg_catalog.pg_partition_root(t.oid), t.oid)::bigint, t.text FROM (
  SELECT d.adrelid, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
  UNION ALL SELECT i.indrelid, pg_catalog.pg_get_expr(i.indexprs, i.indrelid)
    FROM pg_catalog.pg_index i WHERE i.indexprs IS NOT NULL
  UNION ALL SELECT i.indrelid, pg_catalog.pg_get_expr(i.indpred, i.indrelid)
    FROM pg_catalog.pg_index i WHERE i.indpred IS NOT NULL
  UNION ALL SELECT c.conrelid, pg_catalog.pg_get_expr(c.conbin, c.conrelid)
    FROM pg_catalog.pg_constraint c WHERE c.contype = 'c' AND c.conrelid <> 0
) AS t (oid, text) JOIN pg_catalog.pg_class c ON c.oid = t.oid
WHERE c.relnamespace::regnamespace::text !~ '{_OURS}' AND t.text IS NOT NULL
"""
_VIEWS = f"""
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname::text !~ '{_OURS}'
"""
_RULED = """
SELECT r.ev_class::bigint FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c
  ON c.oid = r.ev_class WHERE c.relkind IN ('r', 'p')
"""
_GUARDED = "SELECT c.oid::bigint FROM pg_catalog.pg_class c WHERE c.relrowsecurity"
_SEQUENCES = f"""
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c WHERE c.relkind = 'S'
  AND c.relpersistence <> 't' AND c.relnamespace::regnamespace::text !~ '{_OURS}' ORDER BY 1
"""
_DEFERRED = """
SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname) FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE c.condeferred
"""
# What would run somebody's code unseen; names that stand for two constraints of different kinds;
# partitions whose columns stand in another order; tables that inherit the traditional way.
_OBSTACLE = f"""
SELECT min(what) FROM (
  SELECT 'an operator with a function of its own' FROM pg_catalog.pg_operator o
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE o.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
  UNION ALL SELECT 'a cast with a function of its own' FROM pg_catalog.pg_cast k
    JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE k.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
  UNION ALL SELECT 'a domain with a function of its own' FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.refclassid = 'pg_proc'::regclass
    WHERE c.contypid <> 0 AND d.refobjid >= 16384
  UNION ALL SELECT 'a trigger that fires for replicas' FROM pg_catalog.pg_trigger t
    WHERE t.tgenabled IN ('A', 'R')
  UNION ALL SELECT 'constraints of one name' FROM pg_catalog.pg_constraint c
    WHERE c.conparentid = 0 AND c.conrelid <> 0
    GROUP BY c.connamespace, c.conname HAVING count(DISTINCT c.condeferred) > 1
  UNION ALL SELECT 'traditional inheritance' FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
    WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text !~ '{_OURS}'
  UNION ALL SELECT 'a partition with columns in another order'
    FROM pg_catalog.pg_class c WHERE c.relispartition AND c.relkind = 'r'
    AND (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
     <> (SELECT pg_catalog.array_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = pg_catalog.pg_partition_root(c.oid) AND a.attnum > 0
         AND NOT a.attisdropped)
  UNION ALL SELECT 'a foreign table' FROM pg_catalog.pg_class c WHERE c.relkind = 'f'
) AS t (what)
"""
_OIDS = f"""
SELECT c.oid::bigint, n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname::text !~ '{_OURS}'
  AND c.relpersistence <> 't'
"""


def read_relations(
    connection: Connection[tuple[object, ...]], schema: Schema, known: Schema
) -> Relations:
    """Of the database as it stands. `schema` is its schema now, `known` that of the backup, whose
    choice of keys holds."""

    def rows(query: str) -> list[tuple[object, ...]]:
        return connection.execute(query.encode()).fetchall()

    uniques = rows(_UNIQUE)
    oids = {int(str(oid)): qualified(str(s), str(r)) for oid, s, r in rows(_OIDS)}
    odd = {oids[int(str(one[0]))] for one in uniques if one[1] and int(str(one[0])) in oids}
    ruled = {oids[int(str(one[0]))] for one in rows(_RULED) if int(str(one[0])) in oids}
    guarded = {oids[int(str(one[0]))] for one in rows(_GUARDED) if int(str(one[0])) in oids}
    texts: dict[str, tuple[str, ...]] = {}
    for oid, text in rows(_TEXTS):
        name = oids.get(int(str(oid)), "")
        texts[name] = (*texts.get(name, ()), str(text))
    kept = [one for one in schema.tables if not one.schema.startswith("dbmend_")]
    tables = tuple(
        _relation(
            number,
            one,
            known,
            texts.get(one.name, ()),
            odd=one.name in odd,
            ruled=one.name in ruled,
            guarded=one.name in guarded,
        )
        for number, one in enumerate(kept)
    )
    numbers = {one.name: one.number for one in tables}
    by_oid = {oid: numbers[name] for oid, name in oids.items() if name in numbers}
    routines, by_name = _routines(rows(_ROUTINES))
    obstacle = rows(_OBSTACLE)[0][0]
    if any(one.table.key.columns and not one.keyed for one in tables):
        obstacle = "keys that are no columns any more"
    found: list[list[Unique]] = [[] for _ in tables]
    for oid, strange, columns in uniques:
        number = by_oid.get(int(str(oid)))
        if number is None or strange:
            continue
        assert isinstance(columns, list)
        unique = Unique(number, tuple(tables[number].places[name] for name in columns))
        if unique not in found[number]:
            found[number].append(unique)
    references = [_reference(one, tables, numbers) for one in schema.foreign_keys]
    in_path = sorted(tables, key=lambda one: (one.table.schema != "public", one.table.schema))
    partitions = [(part, one.number) for one in tables for part in one.table.partitions]
    return Relations(
        tables,
        numbers | dict(partitions),
        _short([(one.name, one.number) for one in in_path] + partitions),
        tuple(tuple(one) for one in found),
        tuple(tuple(r for r in references if r.child == one.number) for one in tables),
        tuple(tuple(r for r in references if r.parent == one.number) for one in tables),
        _triggers(rows(_TRIGGERS), by_oid, len(tables)),
        routines,
        by_name,
        frozenset(parts(name)[1] for name, _ in partitions),
        {qualified(str(s), str(r)): str(text) for s, r, text in rows(_VIEWS)},
        tuple(str(one[0]) for one in rows(_SEQUENCES)),
        tuple(str(one[0]) for one in rows(_DEFERRED)),
        str(obstacle or ""),
    )


def _short(named: list[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in named:
        found.setdefault(parts(name)[1], number)
    return found


def _relation(
    number: int,
    table: Table,
    known: Schema,
    texts: tuple[str, ...],
    *,
    odd: bool,
    ruled: bool,
    guarded: bool,
) -> Relation:
    places = {column.name: place for place, column in enumerate(table.columns)}
    key = known.table(table.name).key if known.has(table.name) else table.key
    fits = all(name in places for name in key.columns)
    return Relation(
        number,
        replace(table, key=key),
        bool(key.columns) and fits,
        tuple(places[name] for name in key.columns) if fits else (),
        places,
        texts,
        odd,
        ruled,
        guarded,
    )


def _routines(
    rows: list[tuple[object, ...]],
) -> tuple[dict[int, Routine], dict[str, tuple[int, ...]]]:
    routines: dict[int, Routine] = {}
    by_name: dict[str, tuple[int, ...]] = {}
    for oid, name, language, definition, extension in rows:
        # What an extension brings in C computes and reads no tables; what it brings in SQL is read.
        if extension and language in ("c", "internal"):
            continue
        number = int(str(oid))
        routines[number] = Routine(str(name), str(language), str(definition))
        by_name[str(name)] = (*by_name.get(str(name), ()), number)
    return routines, by_name


def _triggers(
    rows: list[tuple[object, ...]], by_oid: Mapping[int, int], count: int
) -> tuple[tuple[Trigger, ...], ...]:
    found: list[list[Trigger]] = [[] for _ in range(count)]
    for oid, function, kind, columns, _ in rows:
        number = by_oid.get(int(str(oid)))
        if number is None:
            continue
        bits = int(str(kind))
        ops: set[Op] = set()
        if bits & 4:
            ops.add("insert")
        if bits & 40:  # a DELETE, or a TRUNCATE that takes all rows
            ops.add("delete")
        if bits & 16:
            ops.add("update")
        assert isinstance(columns, list)
        one = Trigger(int(str(function)), frozenset(ops), frozenset(columns), bool(bits & 2))
        if one not in found[number]:
            found[number].append(one)
    return tuple(tuple(one) for one in found)


def _reference(
    key: ForeignKey, tables: tuple[Relation, ...], numbers: Mapping[str, int]
) -> Reference:
    child, parent = tables[numbers[key.table]], tables[numbers[key.parent]]
    return Reference(
        child.number,
        tuple(child.places[name] for name in key.columns),
        parent.number,
        tuple(parent.places[name] for name in key.parent_columns),
        key.on_delete,
        key.on_update,
    )
