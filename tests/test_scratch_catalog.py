"""The schema and the rows of a scratch database, word for word, with awkward names and types."""

from pathlib import Path

from diffing.model import (
    Column,
    Constraint,
    ForeignKey,
    Key,
    Schema,
    SchemaObject,
    Sequence_,
    Table,
    Trigger,
)
from recovery.scratch.catalog import read_schema
from recovery.scratch.cluster import Cluster
from recovery.scratch.state import LoadedState

AWKWARD = '''
CREATE SCHEMA "Dot.Ted";
CREATE EXTENSION citext;
CREATE TYPE "Dot.Ted".mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN "Dot.Ted".price AS numeric(10,2) CHECK (VALUE >= 0);
CREATE TYPE "Dot.Ted".pair AS (a float8, b jsonb);
CREATE TABLE "Dot.Ted"."Order ""q""" (
    "select" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "Größe" "Dot.Ted".price NOT NULL DEFAULT 1.50,
    moods "Dot.Ted".mood[],
    twice numeric GENERATED ALWAYS AS (("Größe" * 2)) STORED,
    CONSTRAINT "a check" CHECK ("select" > 0)
);
CREATE TABLE child (
    a int, b int, c char(3), d public.citext, e "Dot.Ted".pair, f "Dot.Ted".pair[],
    g tstzrange, h timestamptz, i interval, j json, k tsvector, l float4[], m boolean,
    n int4multirange, "order" bigint REFERENCES "Dot.Ted"."Order ""q""" ON DELETE CASCADE
        ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT u UNIQUE (b, a)
);
ALTER TABLE child ALTER a SET NOT NULL, ALTER b SET NOT NULL;
CREATE TABLE heir (extra text) INHERITS (child);
CREATE TABLE part (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE UNLOGGED TABLE nokey (a int UNIQUE);
CREATE SEQUENCE counter INCREMENT 5;
SELECT setval('counter', 42, false);
CREATE INDEX part_at ON part (at) WHERE id > 1;
CREATE VIEW v AS SELECT id FROM part;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "t 1" BEFORE INSERT OR UPDATE ON part FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE part DISABLE TRIGGER "t 1";
CREATE RULE silent AS ON DELETE TO nokey DO INSTEAD NOTHING;
GRANT SELECT ON v TO PUBLIC;
'''

CHILD_COLUMNS = (
    Column("a", "integer", "text", not_null=True),
    Column("b", "integer", "text", not_null=True),
    Column("c", "character(3)", "char"),
    Column("d", "public.citext", "citext"),
    Column("e", '"Dot.Ted".pair', "composite", fields=("float", "json")),
    Column("f", '"Dot.Ted".pair[]', "array", element="composite", fields=("float", "json")),
    Column("g", "tstzrange", "range", element="timestamptz"),
    Column("h", "timestamp with time zone", "timestamptz"),
    Column("i", "interval", "interval"),
    Column("j", "json", "json"),
    Column("k", "tsvector", "tsvector"),
    Column("l", "real[]", "array", element="float"),
    Column("m", "boolean", "text"),
    Column("n", "int4multirange", "range"),
    Column("order", "bigint", "text"),
)
ORDERS = '"Dot.Ted"."Order ""q"""'
TABLES = (
    Table(
        "Dot.Ted",
        'Order "q"',
        (
            Column("select", "bigint", "text", not_null=True, identity="always"),
            Column("Größe", '"Dot.Ted".price', "numeric", not_null=True, default="1.50"),
            Column("moods", '"Dot.Ted".mood[]', "array"),
            Column(
                "twice",
                "numeric",
                "numeric",
                generated=True,
                default='(("Größe")::numeric * (2)::numeric)',
            ),
        ),
        Key(("select",), "primary"),
    ),
    Table("public", "child", CHILD_COLUMNS, Key(("b", "a"), "unique")),
    Table(
        "public",
        "heir",
        (*CHILD_COLUMNS, Column("extra", "text", "text")),
        Key((), "none"),
        inherits=("public.child",),
    ),
    Table("public", "nokey", (Column("a", "integer", "text"),), Key((), "none")),
    Table(
        "public",
        "part",
        (
            Column("id", "integer", "text", not_null=True),
            Column("at", "date", "text", not_null=True),
        ),
        Key(("id", "at"), "primary"),
        partitioned=True,
        partitions=("public.part_1",),
    ),
)
FOREIGN = (
    'FOREIGN KEY ("order") REFERENCES "Dot.Ted"."Order ""q"""("select")'
    " ON UPDATE SET NULL ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
)
PUBLIC = SchemaObject("grant", "public", "=U/jail\njail=UC/jail")
EXPECTED = Schema(
    tables=TABLES,
    foreign_keys=(
        ForeignKey(
            "child_order_fkey",
            "public.child",
            ("order",),
            ORDERS,
            ("select",),
            "cascade",
            "set null",
            True,
        ),
    ),
    constraints=(
        Constraint('Order "q"_pkey', ORDERS, "primary", ("select",), 'PRIMARY KEY ("select")'),
        Constraint("a check", ORDERS, "check", ("select",), 'CHECK (("select" > 0))'),
        Constraint("child_order_fkey", "public.child", "foreign", ("order",), FOREIGN),
        Constraint("u", "public.child", "unique", ("b", "a"), "UNIQUE (b, a)"),
        Constraint("nokey_a_key", "public.nokey", "unique", ("a",), "UNIQUE (a)"),
        Constraint("part_pkey", "public.part", "primary", ("id", "at"), "PRIMARY KEY (id, at)"),
    ),
    triggers=(
        Trigger(
            "t 1",
            "public.part",
            "public.touch",
            'CREATE TRIGGER "t 1" BEFORE INSERT OR UPDATE ON public.part FOR EACH ROW'
            " EXECUTE FUNCTION public.touch()",
            frozenset({"insert", "update"}),
            False,
        ),
    ),
    sequences=(
        Sequence_('"Dot.Ted"."Order ""q""_select_seq"', 1, False, 1, (ORDERS, "select")),
        Sequence_("public.counter", 42, False, 5),
    ),
    objects=(
        SchemaObject("extension", "citext", "VERSION 1.6"),
        SchemaObject(
            "function",
            "public.touch()",
            "CREATE OR REPLACE FUNCTION public.touch()\n RETURNS trigger\n LANGUAGE plpgsql\n"
            "AS $function$BEGIN RETURN NEW; END$function$\n",
        ),
        PUBLIC,
        SchemaObject("grant", "public.v", "=r/jail\njail=arwdDxtm/jail"),
        SchemaObject(
            "index",
            "public.part_at",
            "CREATE INDEX part_at ON ONLY public.part USING btree (at) WHERE (id > 1)",
        ),
        SchemaObject("partition", "public.part", "PARTITION BY RANGE (at)"),
        SchemaObject(
            "partition",
            "public.part_1",
            "PARTITION OF public.part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        ),
        SchemaObject(
            "rule",
            "public.nokey.silent",
            "CREATE RULE silent AS\n    ON DELETE TO public.nokey DO INSTEAD NOTHING;",
        ),
        SchemaObject("type", '"Dot.Ted".mood', "ENUM ('sad', 'it''s ok')"),
        SchemaObject("type", '"Dot.Ted".pair', "COMPOSITE (a double precision, b jsonb)"),
        SchemaObject(
            "type",
            '"Dot.Ted".price',
            "DOMAIN numeric(10,2) CHECK ((VALUE >= (0)::numeric))",
        ),
        SchemaObject("view", "public.v", "VIEW AS SELECT id\n   FROM public.part;"),
    ),
)


def test_every_word_of_an_awkward_schema(scratch: Cluster, database: str) -> None:
    with scratch.connect(database) as connection:
        connection.execute(AWKWARD)
        found = read_schema(connection)
        path = connection.execute("SHOW search_path").fetchone()
    assert found.tables == EXPECTED.tables
    assert found == EXPECTED
    assert path == ('"$user", public',)


def test_an_empty_database_has_an_empty_schema(scratch: Cluster, database: str) -> None:
    assert LoadedState(scratch, database).schema == Schema(tables=(), objects=(PUBLIC,))


def test_rows_are_written_as_the_database_prints_them(
    scratch: Cluster, database: str, tmp_path: Path
) -> None:
    with scratch.connect(database) as connection:
        connection.execute(AWKWARD)
        connection.execute(
            """INSERT INTO child (a, b, c, d, e, h, i, j, l, m) VALUES
            (1, 1, 'x', 'A"b,', '(1.5,"{""k"": 1}")', '2026-01-02 03:04:05+03', '1 mon',
             '{"a":  1}', '{1.1,NULL}', true);
            INSERT INTO heir (a, b, d, extra) VALUES (2, 2, E'line\\nbreak', '');
            INSERT INTO part VALUES (1, '2026-02-03')"""
        )
    state = LoadedState(scratch, database, {"public.lost": "line 3: broken"})
    written = {}
    for name, columns in (
        ("public.child", ("b", "c", "d", "e", "h", "i", "j", "l", "m", "n")),
        ("public.heir", ("d", "extra", "m")),
        ("public.part", ("at", "id")),
        ("public.nokey", ("a",)),
        ("public.child", ()),
    ):
        path = tmp_path / "rows.csv"
        count = state.export(state.schema.table(name), columns, path)
        written[name, columns[:1]] = (count, path.read_text("utf-8"))
    assert written == {
        ("public.child", ("b",)): (
            1,
            '1,"1","x  ","A""b,","(1.5,""{""""k"""": 1}"")","2026-01-02 00:04:05+00","1 mon",'
            '"{""a"":  1}","{1.1,NULL}","t",\n',
        ),
        ("public.heir", ("d",)): (1, '1,"line\nbreak","",\n'),
        ("public.part", ("at",)): (1, '1,"2026-02-03","1"\n'),
        ("public.nokey", ("a",)): (0, ""),
        ("public.child", ()): (1, "1\n"),
    }
    assert state.unloaded == {"public.lost": "line 3: broken"}
