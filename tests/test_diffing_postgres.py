"""Two databases on a real server: every built-in type, names, trees of tables, a lost table."""

from typing import TYPE_CHECKING

import duckdb
import pytest

from diffing.engine import Options, compare
from diffing.model import Ledger, SchemaDivergence, Sides, Status
from recovery.scratch.state import LoadedState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recovery.scratch.cluster import Cluster


class Quiet:
    def stage(self, name: str, *, total: int = 0) -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


class Sides_:
    """Two databases, and what comparing them finds."""

    def __init__(self, cluster: "Cluster", names: tuple[str, str], workspace: "Path") -> None:
        self.cluster = cluster
        self.names = names
        self.workspace = workspace
        self.facts = duckdb.connect(":memory:")
        self.facts.execute(
            'CREATE TABLE divergence ("table" VARCHAR, key VARCHAR, kind VARCHAR, '
            '"column" VARCHAR, backup VARCHAR, current VARCHAR)'
        )

    def run(self, *statements: str, on: tuple[int, ...] = (0, 1)) -> None:
        for side in on:
            with self.cluster.connect(self.names[side]) as connection:
                for statement in statements:
                    connection.execute(statement.encode())

    def compare(self) -> Ledger:
        ledger = compare(
            LoadedState(self.cluster, self.names[0]),
            LoadedState(self.cluster, self.names[1]),
            self.facts,
            workspace=self.workspace,
            options=Options(threads=1),
            progress=Quiet(),
        )
        assert list(self.workspace.iterdir()) == []
        return ledger

    @property
    def divergences(self) -> list[tuple[str | None, ...]]:
        return self.facts.execute("FROM divergence ORDER BY ALL").fetchall()


@pytest.fixture
def sides(scratch: "Cluster", database: str, tmp_path: "Path") -> "Iterator[Sides_]":
    other = database + "_current"
    scratch.create(other)
    both = Sides_(scratch, (database, other), tmp_path)
    yield both
    both.facts.close()
    scratch.drop(other)


# type, a value, another value, another text of the first value ('' where there is none)
TYPES = [
    ("smallint", "1", "2", ""),
    ("integer", "1", "2", ""),
    ("bigint", "9007199254740992", "9007199254740993", ""),
    ("numeric", "1.10", "1.1000001", "1.1"),
    ("real", "0.1", "0.10000001", ""),
    ("double precision", "0.30000000000000004", "0.3", ""),
    ("float8", "0", "1e-300", "-0"),
    ("money", "$1.00", "$1.01", ""),
    ("text", "a", "A", ""),
    ("varchar(10)", "a", "a ", ""),
    ("char(5)", "a", "b", ""),
    ('"char"', "a", "b", ""),
    ("name", "a", "b", ""),
    ("bytea", "\\x00ff", "\\x00fe", ""),
    ("timestamp", "2026-01-01 00:00:00", "2026-01-01 00:00:00.000001", ""),
    ("timestamptz", "2026-01-01 00:00:00+03", "2026-01-01 00:00:00+00", ""),
    ("timestamptz", "infinity", "10000-01-01 00:00:00+00", ""),
    ("date", "2026-01-01", "0044-03-15 BC", ""),
    ("time", "12:00", "12:00:00.5", ""),
    ("timetz", "12:00+03", "09:00+00", ""),
    ("interval", "1 mon", "30 days", ""),
    ("interval", "1 year 2 mons -3 days 04:05:06.789", "1 year 2 mons -3 days 04:05:06.788", ""),
    ("boolean", "t", "f", ""),
    ("point", "(1,2)", "(2,1)", ""),
    ("line", "{1,2,3}", "{1,2,4}", ""),
    ("lseg", "[(0,0),(1,1)]", "[(1,1),(0,0)]", ""),
    ("box", "(2,2),(0,0)", "(4,1),(0,0)", ""),
    ("path", "[(0,0),(1,1)]", "[(0,0),(-1,-1)]", ""),
    ("polygon", "((0,0),(1,1),(2,0))", "((0,0),(2,0),(1,1))", ""),
    ("circle", "<(0,0),1>", "<(1,1),1>", ""),
    ("cidr", "10.0.0.0/8", "10.0.0.0/9", ""),
    ("inet", "10.0.0.1/8", "10.0.0.1/9", ""),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:04", ""),
    ("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06", ""),
    ("bit(3)", "101", "100", ""),
    ("varbit", "101", "1010", ""),
    ("tsquery", "'a' & 'b'", "'a' | 'b'", ""),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", ""),
    ("xml", "<a>1</a>", "<a>2</a>", ""),
    ("json", '{"a":1,"b":[2]}', '{"a":1,"b":[3]}', '{ "b": [2.0], "a": 1, "a": 1.0 }'),
    ("jsonb", '{"a":1.0}', '{"a":1.01}', '{"a":1.00}'),
    ("jsonpath", "$.a", "$.b", ""),
    ("integer[]", "{1,NULL,3}", "{1,2,3}", ""),
    ("integer[]", "{1,2}", "[0:1]={1,2}", ""),
    ("text[]", '{NULL,"NULL",""}', '{"NULL",NULL,""}', ""),
    ("numeric[]", "{{1.0,2},{3,4}}", "{{1.0,2},{3,5}}", "{{1.00,2.0},{3,4}}"),
    ("jsonb[]", '{"{\\"a\\": 1}"}', '{"{\\"a\\": 2}"}', '{"{\\"a\\": 1.0}"}'),
    ("float8[]", "{0,NaN}", "{1,NaN}", "{-0,NaN}"),
    ("int4range", "[1,5)", "[1,6)", ""),
    ("numrange", "[1.0,5)", "[1.0,5]", "[1.00,5.0)"),
    ("numrange", "empty", "(,)", ""),
    ("tstzrange", '["2026-01-01 00:00:00+00",)', '("2026-01-01 00:00:00+00",)', ""),
    ("nummultirange", "{[1.0,2),[3,4)}", "{[1.0,2)}", "{[1,2),[3.0,4)}"),
    ("daterange", "[2026-01-01,2026-02-01)", "[2026-01-01,2026-02-02)", ""),
    ("pg_lsn", "16/B374D848", "16/B374D849", ""),
    ("pg_snapshot", "10:20:10,14", "10:20:10,15", ""),
    ("txid_snapshot", "10:20:10,14", "10:20:10,15", ""),
    ("xid8", "42", "43", ""),
    ("oid", "42", "43", ""),
    ("regclass", "pg_class", "pg_type", ""),
    ("int2vector", "1 2", "1 3", ""),
    ("mood", "glad", "sad", ""),
    ("pair", '(1,"a b")', '(2,"a b")', ""),
    ("positive", "1.0", "2", "1.00"),
]


def test_every_type_once(sides: Sides_):
    columns = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(TYPES))
    sides.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TYPE pair AS (a integer, b text)",
        "CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)",
        f"CREATE TABLE t (id integer PRIMARY KEY, {columns})",
    )

    def insert(values: list[str], on: int) -> None:
        texts = ", ".join("'" + one.replace("'", "''") + "'" for one in values)
        sides.run(f"INSERT INTO t VALUES ({texts})", on=(on,))

    places = range(len(TYPES))
    first = [one for _, one, _, _ in TYPES]
    for side in (0, 1):
        insert(["1", *first], side)
        sides.run("INSERT INTO t (id) VALUES (0)", on=(side,))
    (intact,) = sides.compare().tables
    assert (intact.status, intact.same, intact.why) == (Status.IDENTICAL, 2, "")
    assert sides.divergences == []

    insert(["2", *first], 0)
    insert(["2", *(other for _, _, other, _ in TYPES)], 1)
    insert(["3", *first], 0)
    insert(["3", *(form or one for _, one, _, form in TYPES)], 1)
    (found,) = sides.compare().tables
    assert found.cells == tuple((f"c{n}", 1) for n in places)
    assert (found.same, found.changed, found.representation_only) == (3, 1, 1), sides.divergences
    assert {row[1] for row in sides.divergences} == {'{"id":"2"}'}


def test_names_nothing_but_key_and_trees_of_tables(sides: Sides_):
    name = '"q""u.o+T e"'
    sides.run(
        'CREATE SCHEMA "S.1"',
        f'CREATE TABLE "S.1".{name} ("k"".1" integer PRIMARY KEY, {name} text)',
        f'INSERT INTO "S.1".{name} VALUES (1, NULL), (2, E\'a\\nb\\\\"\')',
        "CREATE TABLE link (a integer, b integer, PRIMARY KEY (a, b))",
        "INSERT INTO link VALUES (1, 1), (1, 2)",
        "CREATE TABLE parent (id integer, a text)",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO parent VALUES (1, 'p')",
        "INSERT INTO child VALUES (2, 'c')",
        "CREATE TABLE parts (id integer PRIMARY KEY, a text) PARTITION BY RANGE (id)",
        "CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
        "INSERT INTO parts VALUES (1, 'x'), (11, 'x')",
    )
    ledger = sides.compare()
    assert ledger.schema == ()
    assert {entry.table: (entry.status, entry.rows) for entry in ledger} == {
        '"S.1"."q""u.o+T e"': (Status.IDENTICAL, Sides(2, 2)),
        "public.child": (Status.IDENTICAL, Sides(1, 1)),
        "public.link": (Status.IDENTICAL, Sides(2, 2)),
        "public.parent": (Status.IDENTICAL, Sides(1, 1)),
        "public.parts": (Status.IDENTICAL, Sides(2, 2)),
    }
    sides.run(
        f"""UPDATE "S.1".{name} SET {name} = '' WHERE "k"".1" = 1""",
        "DELETE FROM link WHERE b = 2",
        "UPDATE parts SET id = 12 WHERE id = 1",
        "UPDATE parent SET a = 'z' WHERE id = 2",
        on=(1,),
    )
    ledger = sides.compare()
    figures = {
        entry.table: (entry.same, entry.changed, entry.missing, entry.extra) for entry in ledger
    }
    assert figures == {
        '"S.1"."q""u.o+T e"': (1, 1, 0, 0),
        "public.child": (0, 0, 1, 1),
        "public.link": (1, 0, 1, 0),
        "public.parent": (1, 0, 0, 0),
        "public.parts": (1, 0, 1, 1),
    }
    assert sides.divergences[0] == (
        '"S.1"."q""u.o+T e"',
        '{"k\\".1":"1"}',
        "changed",
        'q"u.o+T e',
        None,
        "",
    )


def test_generated_columns_keys_that_broke_and_schemas(sides: Sides_):
    sides.run(
        "CREATE TABLE t (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a numeric(8,2), "
        "twice numeric GENERATED ALWAYS AS (a * 2) STORED, words tsvector)",
        "INSERT INTO t (a, words) VALUES (1, 'a'), (2, 'b')",
    )
    assert sides.compare().verdict.value == "identical"
    sides.run(
        "UPDATE t SET a = 3, words = 'c' WHERE id = 2",
        "ALTER TABLE t DROP CONSTRAINT t_pkey",
        "INSERT INTO t (id, a) OVERRIDING SYSTEM VALUE VALUES (1, 1.0)",
        "ALTER TABLE t ALTER a SET DEFAULT 0",
        on=(1,),
    )
    ledger = sides.compare()
    (found,) = ledger.tables
    assert (found.key, found.duplicates, found.duplicates_scope) == (("id",), Sides(0, 1), "all")
    assert (found.same, found.changed, found.missing, found.extra) == (1, 1, 0, 1)
    assert found.cells == (("a", 1),)
    assert found.why == (
        "keys held by several rows: 0 in the backup, 1 in the current; "
        "derived columns that differ: twice (1), words (1)"
    )
    assert ledger.schema == (
        SchemaDivergence("column", "public.t.a", "numeric(8,2)", "numeric(8,2) default 0"),
        SchemaDivergence("constraint", "public.t.t_pkey", "PRIMARY KEY (id)", ""),
    )


def test_a_table_that_the_server_cannot_give(sides: Sides_):
    sides.run(
        "CREATE TABLE fine (id integer PRIMARY KEY)",
        "CREATE TABLE torn (id integer PRIMARY KEY, a integer)",
        "INSERT INTO torn VALUES (1, 0)",
    )
    backup, current = (LoadedState(sides.cluster, name) for name in sides.names)
    assert current.schema.has("public.torn")
    sides.run("DROP TABLE torn", on=(1,))
    ledger = compare(
        backup,
        current,
        sides.facts,
        workspace=sides.workspace,
        options=Options(threads=1),
        progress=Quiet(),
    )
    assert [(entry.table, entry.status) for entry in ledger] == [
        ("public.fine", Status.IDENTICAL),
        ("public.torn", Status.NOT_COMPARED),
    ]
    assert ledger.tables[1].why.startswith("UndefinedTable: ")
    assert ledger.verdict.value == "inconclusive"
    assert list(sides.workspace.iterdir()) == []
